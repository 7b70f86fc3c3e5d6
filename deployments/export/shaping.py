"""What is done to a rendered line before it is mastered: another rate, silence at its end, fades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deployments.audio.resample import StreamingResampler
from deployments.audio.samples import Samples
from deployments.audio.track import BLOCK_SAMPLES, TrackReader
from deployments.export.media_errors import EmptyAudio, WrongValue

MAX_TAIL_S = 60.0


@dataclass(frozen=True, slots=True)
class Shape:
    """`tail_s` of silence is added; the fade out ends with the line, before the tail. Fades are raised cosines.

    Raises WrongValue for times that are none.
    """

    rate_hz: int
    fade_in_s: float = 0.0
    fade_out_s: float = 0.0
    tail_s: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.rate_hz <= 192_000:
            raise WrongValue(f"A sample rate is 1 to 192000 Hz, not {self.rate_hz}.")
        for name, seconds in (("fade in", self.fade_in_s), ("fade out", self.fade_out_s)):
            if not 0.0 <= seconds < float("inf"):
                raise WrongValue(f"A {name} lasts 0 seconds or more, not {seconds:g}.")
        if not 0.0 <= self.tail_s <= MAX_TAIL_S:
            raise WrongValue(f"A tail lasts 0 to {MAX_TAIL_S:g} seconds, not {self.tail_s:g}.")


class Shaper:
    """Shapes a signal of `samples` per channel as it comes, float32 [channels, any number] at `from_hz`.

    All that comes out is round(samples * rate / from_hz) samples, and the tail, the same however the signal is
    cut. Raises EmptyAudio for no samples, WrongValue for fades that together are longer than the signal.
    """

    def __init__(self, shape: Shape, from_hz: int, channels: int, samples: int) -> None:
        if samples < 1:
            raise EmptyAudio("The audio has no samples.")
        self._channels = channels
        self._samples = shaped_samples(shape, from_hz, samples)
        self._fades = round(shape.fade_in_s * shape.rate_hz), round(shape.fade_out_s * shape.rate_hz)
        if sum(self._fades) > self._samples:
            raise WrongValue("The fades are longer than the audio.")
        self._tail = round(shape.tail_s * shape.rate_hz)
        self._resampler = StreamingResampler(from_hz, shape.rate_hz, channels)
        self._position = 0

    def push(self, samples: Samples) -> Samples:
        return self._fade(self._resampler.push(samples))

    def finish(self) -> Iterator[Samples]:
        """The rest, and the tail. The signal is over."""
        yield self._fade(self._resampler.finish())
        for start in range(0, self._tail, BLOCK_SAMPLES):
            yield np.zeros((self._channels, min(BLOCK_SAMPLES, self._tail - start)), np.float32)

    def _fade(self, block: Samples) -> Samples:
        faded = _faded(block, self._position, self._samples, *self._fades)
        self._position += block.shape[1]
        return faded


def shaped_samples(shape: Shape, from_hz: int, samples: int) -> int:
    """How long `samples` at `from_hz` are at the shape's rate, without the tail."""
    return round(samples * shape.rate_hz / from_hz)


def shaped(track: TrackReader, shape: Shape) -> Iterator[Samples]:
    """A whole track, shaped, block by block. Raises as `Shaper`, OSError."""
    shaper = Shaper(shape, track.rate_hz, track.channels, track.samples)
    for block in track.blocks():
        yield shaper.push(block)
    yield from shaper.finish()


def _faded(block: Samples, position: int, samples: int, fade_in: int, fade_out: int) -> Samples:
    """The block that begins at `position` of `samples`; unchanged outside of the fades."""
    end = position + block.shape[1]
    if position >= fade_in and end <= samples - fade_out:
        return block
    at = np.arange(position, end, dtype=np.float64)
    gain = np.ones(block.shape[1])
    if fade_in:
        gain *= _raised_cosine((at + 0.5) / fade_in)
    if fade_out:
        gain *= _raised_cosine((samples - at - 0.5) / fade_out)
    faded: Samples = (block * gain).astype(np.float32)
    return faded


def _raised_cosine(
    share: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """0 at 0, 1 from 1 on."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(share, 0.0, 1.0))
