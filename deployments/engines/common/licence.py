"""The licence of a local model folder."""

from __future__ import annotations

from pathlib import Path

_LICENCE_FILES = ("licence.txt", "LICENSE")


def read_licence(folder: Path) -> str:
    """The first line of `licence.txt` or `LICENSE` in the folder; "unknown" where there is none."""
    for name in _LICENCE_FILES:
        path = folder / name
        if path.is_file():
            lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return lines[0].strip()[:100]
    return "unknown"
