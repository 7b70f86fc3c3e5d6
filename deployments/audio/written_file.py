"""Files that are written piece by piece, and are whole or not there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self


class WrittenFile(ABC):
    """The file at `path`, open for writing. Leaving the context closes it; after an error it is removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("wb")

    @abstractmethod
    def close(self) -> None:
        """Write what is known last, and close. Once is enough."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._file.close()
            self.path.unlink(missing_ok=True)
