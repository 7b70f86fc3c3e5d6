"""Folders of models that are made here, not downloaded."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def made_folder(cache_dir: Path, name: str, write: Callable[[Path], None]) -> Path:
    """The folder of that name inside `cache_dir`, written by `write` if it is not there.

    It appears whole, by a rename: of two processes that make it at once, one wins and the other uses that one's.
    """
    folder = cache_dir / name
    if folder.is_dir():
        return folder
    cache_dir.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache_dir))
    try:
        write(draft)
        draft.chmod(0o755)
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder
