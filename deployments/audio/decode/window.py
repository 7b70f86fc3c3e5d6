"""A stretch of a file, as a file of its own."""

from __future__ import annotations

import os
from typing import BinaryIO

from deployments.audio.decode.containers.layout import Span


class Window:
    """The bytes of `span`, readable and seekable; the underlying file is left at an unspecified position."""

    def __init__(self, file: BinaryIO, span: Span) -> None:
        self._file = file
        self._span = span
        self._position = 0

    @property
    def _size(self) -> int:
        return self._span.end - self._span.start

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._position)
        wanted = left if size < 0 else min(size, left)
        if not wanted:
            return b""
        self._file.seek(self._span.start + self._position)
        data = self._file.read(wanted)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
