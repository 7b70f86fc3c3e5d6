"""Which of the starter's weights the package has, without torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

NAME = "starter"
FOLDER = Path(__file__).parent
GENERATOR_FILES = ("codec.safetensors", "lm.safetensors", "text.safetensors")
SEPARATOR_FILE = "separator.safetensors"


def has_generator(folder: Path = FOLDER) -> bool:
    """Its chroma is that of stems, so that the separator belongs to it."""
    return has_separator(folder) and all((folder / name).is_file() for name in GENERATOR_FILES)


def has_separator(folder: Path = FOLDER) -> bool:
    return (folder / SEPARATOR_FILE).is_file()


def digest(names: tuple[str, ...], folder: Path = FOLDER) -> str:
    """12 hex digits that change with the files' contents."""
    whole = hashlib.sha256()
    for name in names:
        whole.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return whole.hexdigest()[:12]
