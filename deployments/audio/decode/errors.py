"""What can be wrong with audio that somebody sends.

AudioError
├── UnsupportedMedia   not one of the formats that are read
├── BadAudio           such a format, but damaged or outside the limits; `code` says which
├── DecoderBroken      the decoder itself could not run; says nothing about the file
└── DiskFull           there is no room for what is decoded; says nothing about the file
"""

from __future__ import annotations

import errno
from enum import StrEnum


class AudioError(Exception):
    """`detail` is one sentence for the one who sent the audio; it names no path."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def to_json(self) -> dict[str, str]:
        return {"type": type(self).__name__, "detail": self.detail}


class UnsupportedMedia(AudioError):
    pass


class BadAudioCode(StrEnum):
    EMPTY = "empty"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    CHANNELS = "channels"
    RATE = "rate"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    NOT_FINITE = "not_finite"
    TOO_LOUD = "too_loud"
    TIMEOUT = "timeout"
    MEMORY = "memory"


class BadAudio(AudioError):
    def __init__(self, code: BadAudioCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code

    def to_json(self) -> dict[str, str]:
        return super().to_json() | {"code": self.code.value}


class DecoderBroken(AudioError):
    pass


class DiskFull(AudioError):
    pass


DISK_FULL_ERRNOS = frozenset((errno.ENOSPC, errno.EDQUOT))


def error_from_json(fields: dict[str, str]) -> AudioError:
    """What `to_json` was called on. Raises KeyError or ValueError for anything else."""
    if fields["type"] == BadAudio.__name__:
        return BadAudio(BadAudioCode(fields["code"]), fields["detail"])
    return {kind.__name__: kind for kind in (UnsupportedMedia, DecoderBroken, DiskFull)}[fields["type"]](
        fields["detail"]
    )
