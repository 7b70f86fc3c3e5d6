"""What is done to a rendered line before it is mastered: another rate, silence at its end, fades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deployments.audio.resample import StreamingResampler
from deployments.audio.samples import Samples
from deployments.audio.track import BLOCK_SAMPLES, TrackReader, TrackWriter
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


def shape_track(source: Path, target: Path, shape: Shape) -> None:
    """Write the float32 WAV `source` as `target`, block by block: round(samples * rate / its rate) samples, and
    the tail.

    Fades longer than the line together are refused: WrongValue. Raises EmptyAudio, NotOurWav, OSError.
    """
    track = TrackReader(source)
    if not track.samples:
        raise EmptyAudio("The audio has no samples.")
    samples = round(track.samples * shape.rate_hz / track.rate_hz)
    fades = round(shape.fade_in_s * shape.rate_hz), round(shape.fade_out_s * shape.rate_hz)
    if sum(fades) > samples:
        raise WrongValue("The fades are longer than the audio.")
    position = 0
    with TrackWriter(target, shape.rate_hz, track.channels) as writer:
        for block in _resampled(track, shape.rate_hz):
            writer.append(_faded(block, position, samples, *fades))
            position += block.shape[1]
        silence = round(shape.tail_s * shape.rate_hz)
        for start in range(0, silence, BLOCK_SAMPLES):
            writer.append(np.zeros((track.channels, min(BLOCK_SAMPLES, silence - start)), np.float32))


def _resampled(track: TrackReader, rate_hz: int) -> Iterator[Samples]:
    resampler = StreamingResampler(track.rate_hz, rate_hz, track.channels)
    for block in track.blocks():
        yield resampler.push(block)
    yield resampler.finish()


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
