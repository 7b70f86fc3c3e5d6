"""What one listener was given, so that another recording of the same sound can go on where the last one ended."""

from __future__ import annotations

import hashlib
from collections import deque


class Diverged(Exception):
    """The recording is not of the same sound."""


class Transcript:
    """Keeps nothing of what was given but hashes, one after each stretch. So a recording that differs is found
    out at the end of the first stretch that is not the same.

    `given_bytes` were given in all, `position_bytes` is how much of the present recording was taken.
    """

    def __init__(self) -> None:
        self.given_bytes = 0
        self._hash = hashlib.sha256()
        self._marks: list[tuple[int, bytes]] = []
        self.begin_recording()

    def begin_recording(self) -> None:
        """What is taken from now on is another recording, from its beginning on."""
        self.position_bytes = 0
        self._again = hashlib.sha256()
        self._ahead = deque(self._marks)

    def take(self, data: memoryview) -> memoryview:
        """The next stretch of the recording; returns what of it is new, which counts as given from now on.

        Raises Diverged where what was given before is not the same.
        """
        known = min(len(data), self.given_bytes - self.position_bytes)
        self._compare(data[:known])
        new = data[known:]
        if new:
            self._hash.update(new)
            self.given_bytes += len(new)
            self.position_bytes += len(new)
            self._marks.append((self.given_bytes, self._hash.digest()))
        return new

    def _compare(self, data: memoryview) -> None:
        while data:
            end, digest = self._ahead[0]
            stretch = data[: end - self.position_bytes]
            self._again.update(stretch)
            self.position_bytes += len(stretch)
            data = data[len(stretch) :]
            if self.position_bytes == end:
                self._ahead.popleft()
                if self._again.digest() != digest:
                    raise Diverged
