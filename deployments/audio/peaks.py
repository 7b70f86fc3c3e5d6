"""The outline of a waveform: the lowest and the highest sample of every stretch of 256, one byte each.

The bytes are those of audiowaveform's `.dat`, version 2, with 8 bits
(https://github.com/bbc/audiowaveform/blob/master/doc/DataFormat.md), which players and editors read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples, SoundFormat

SAMPLES_PER_PIXEL = 256
"""About 6 ms at 44.1 kHz: under one pixel of a screen for all that is longer than a few seconds."""

VERSION = 1
"""Raised whenever the same audio would have another outline, so that old ones are not given for new ones."""

HEADER = struct.Struct("<iIiiIi")
_DAT_VERSION, _EIGHT_BITS = 2, 1
_FULL_SCALE = np.float32(128.0)


class PeaksBuilder:
    """An outline that grows with the audio; no cut of the audio into blocks changes it."""

    def __init__(self, sound: SoundFormat) -> None:
        self._sound = sound
        self._rest: Samples = np.zeros((sound.channels, 0), np.float32)
        self._pixels: list[npt.NDArray[np.int8]] = []

    def push(self, samples: Samples) -> None:
        """The next stretch, float32 [channels, any number]."""
        joined = np.concatenate([self._rest, samples], axis=1)
        whole = joined.shape[1] // SAMPLES_PER_PIXEL
        stretch, self._rest = np.split(joined, [whole * SAMPLES_PER_PIXEL], axis=1)
        if whole:
            self._pixels.append(_outline(stretch.reshape(self._sound.channels, whole, SAMPLES_PER_PIXEL)))

    def finish(self) -> bytes:
        """The whole file; the last pixel covers what is left of the audio."""
        if self._rest.shape[1]:
            self._pixels.append(_outline(self._rest[:, None, :]))
            self._rest = self._rest[:, :0]
        length = sum(len(pixels) for pixels in self._pixels)
        header = HEADER.pack(
            _DAT_VERSION, _EIGHT_BITS, self._sound.rate_hz, SAMPLES_PER_PIXEL, length, self._sound.channels
        )
        return header + b"".join(pixels.tobytes() for pixels in self._pixels)


def peaks_of(blocks: Iterable[Samples], sound: SoundFormat) -> bytes:
    """The outline of audio that comes in blocks, float32 [channels, any number]."""
    builder = PeaksBuilder(sound)
    for block in blocks:
        builder.push(block)
    return builder.finish()


def _outline(stretches: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """int8 [pixels, channels, 2] of float32 [channels, pixels, samples]. Lows are rounded down and highs up, so
    that quiet sound is never drawn as silence; what is over full scale is drawn at full scale."""
    ends = np.stack(
        [np.floor(stretches.min(axis=2) * _FULL_SCALE), np.ceil(stretches.max(axis=2) * _FULL_SCALE)]
    )
    pixels: npt.NDArray[np.int8] = np.clip(np.nan_to_num(ends), -128, 127).astype(np.int8)
    return pixels.transpose(2, 1, 0)
