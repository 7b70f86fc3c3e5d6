"""The files of the page as esbuild leaves them: `index.html`, and assets whose names carry their hashes."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

FOLDER: Final = Path(str(files("serve_app"))) / "page"
INDEX: Final = "index.html"

_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
"""What the machine's own table of types may call otherwise."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page; `packed` is the same gzipped, None where that is not smaller."""

    path: Path
    packed: Path | None
    media_type: str


class Bundle:
    """The page in one folder, read at the start: a request reaches only the files found then."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._assets = {
            path.name: _asset(path)
            for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
            if path.is_file() and path.suffix != ".gz"
        }

    @property
    def index(self) -> Asset | None:
        """None where the page has not been built."""
        return self._assets.get(INDEX)

    def find(self, name: str) -> Asset | None:
        """An asset by its name; the index has a route of its own."""
        return None if name == INDEX else self._assets.get(name)


def _asset(path: Path) -> Asset:
    packed = path.with_name(f"{path.name}.gz")
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Asset(path, packed if packed.is_file() else None, media_type)
