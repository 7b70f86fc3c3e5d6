"""What a file's structure says about the audio in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` up to `end` of a file."""

    start: int
    end: int


class PcmCoding(StrEnum):
    """How a sample of PCM is written; the value is the letter in the codec's name."""

    SIGNED = "s"
    UNSIGNED = "u"
    FLOAT = "f"


@dataclass(frozen=True, slots=True)
class PcmLayout:
    """Interleaved PCM. Integers are left-justified in their `width_bytes`, so fewer valid bits need no other scale.

    `full_scale` is what ±1.0 is in a file of floats: 1, but for two old formats of Cool Edit.
    """

    span: Span
    rate_hz: int
    channels: int
    width_bytes: int
    coding: PcmCoding
    byte_order: Literal["<", ">"]
    full_scale: float = 1.0

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.width_bytes

    @property
    def codec(self) -> str:
        """The codec's name in libavcodec's words, as in pcm_s16le."""
        order = "" if self.width_bytes == 1 else {"<": "le", ">": "be"}[self.byte_order]
        return f"pcm_{self.coding}{8 * self.width_bytes}{order}"


@dataclass(frozen=True, slots=True)
class FlacMd5:
    """The MD5 of the unencoded samples, as STREAMINFO has it."""

    digest: bytes
    bits: int


@dataclass(frozen=True, slots=True)
class Layout:
    """`parts` are complete files in themselves and are decoded one after the other; `pcm` is there where the
    samples can be read without a decoder.

    `least_samples`: a decode that gives fewer is not all of it. `exact_samples`: what a decode gives beyond it
    is padding of the last block. Both are per channel and for all parts together.
    """

    parts: tuple[Span, ...] = ()
    pcm: PcmLayout | None = None
    least_samples: int | None = None
    exact_samples: int | None = None
    md5: FlacMd5 | None = None
