"""A line brought to a loudness: one gain, measured, and a limiter for the true peaks, measured again.

ffmpeg's `loudnorm` is not used: without a word it falls back to a gain that pumps, at 192 kHz.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deployments.audio.loudness import Loudness, LoudnessMeter
from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader, TrackWriter
from deployments.export.limiter import TruePeakLimiter
from deployments.export.media_errors import EmptyAudio, WrongValue

LOSSLESS_CEILING_DBTP = -1.0
LOSSY_CEILING_DBTP = -1.5
"""AAC and MP3 add up to 1 dB to a peak when they are decoded."""

LOUDNESS_TARGETS_LUFS = (-36.0, -6.0)
CEILINGS_DBTP = (-20.0, 0.0)
MAX_PASSES = 8
MAX_LIMITED_DB = 6.0
"""Loudness that the limiter takes is made up for as long as it takes no more than this from any peak."""

_LAST_MAKE_UP = MAX_PASSES - 3
_NEAR_LU = 0.1
_MARGIN_DB = 0.02


@dataclass(frozen=True, slots=True)
class LoudnessReport:
    """What was done. None for the loudness of silence and of less than 400 ms; such audio gets no gain.

    `clipped_samples` counts the samples over full scale that an integer format would cut, before and after.
    `limited_db` is the limiter's greatest reduction.
    """

    input_lufs: float | None
    output_lufs: float | None
    gain_db: float
    limited_db: float
    input_true_peak_dbtp: float
    output_true_peak_dbtp: float
    input_clipped_samples: int
    output_clipped_samples: int
    ceiling_dbtp: float
    target_lufs: float | None
    passes: int


def _nothing() -> None:
    return None


def master(
    source: Path,
    target: Path,
    *,
    target_lufs: float | None,
    ceiling_dbtp: float = LOSSLESS_CEILING_DBTP,
    on_block: Callable[[], None] = _nothing,
) -> LoudnessReport:
    """Write the float32 WAV `source` as `target`, at `target_lufs` (its own loudness where that is None), no
    true peak over the ceiling.

    Read block by block, once to measure and once for each try. The limiter's gain moves peaks a little and
    takes some loudness: it is run again from the source with a lower aim and more gain until both hold, and
    where they do not settle all is turned down under the ceiling. Material that would need more than
    MAX_LIMITED_DB of limiting ends softer than the target; the report says how loud it is. `on_block` is called
    before each block: an error out of it ends the work.

    Raises EmptyAudio, WrongValue for a target or ceiling outside of what makes sense, NotOurWav, OSError.
    """
    lowest, highest = LOUDNESS_TARGETS_LUFS
    if target_lufs is not None and not lowest <= target_lufs <= highest:
        raise WrongValue(f"A loudness target is {lowest:g} to {highest:g} LUFS, not {target_lufs:g}.")
    least_dbtp, most_dbtp = CEILINGS_DBTP
    if not least_dbtp <= ceiling_dbtp <= most_dbtp:
        raise WrongValue(
            f"A ceiling for true peaks is {least_dbtp:g} to {most_dbtp:g} dBTP, not {ceiling_dbtp:g}."
        )
    track = TrackReader(source)
    if not track.samples:
        raise EmptyAudio("The audio has no samples.")
    before, clipped = measure(source, on_block)
    gain_db = 0.0
    if target_lufs is not None and before.integrated_lufs is not None:
        gain_db = target_lufs - before.integrated_lufs
    aim_dbtp = ceiling_dbtp
    for tries in range(1, MAX_PASSES + 1):
        limited_db = 0.0
        if before.true_peak_dbtp + gain_db <= ceiling_dbtp:
            _write(target, track, _amplified(track, gain_db, on_block))
        else:
            limiter = TruePeakLimiter(track.rate_hz, track.channels, aim_dbtp)
            _write(target, track, _limited(_amplified(track, gain_db, on_block), limiter))
            limited_db = limiter.most_db
        after, clipped_after = measure(target, on_block)
        over_db = max(0.0, after.true_peak_dbtp - ceiling_dbtp)
        missing_db = 0.0
        if tries < _LAST_MAKE_UP:
            missing_db = _missing_db(after.integrated_lufs, target_lufs, limited_db)
        if tries == MAX_PASSES or not (over_db or missing_db):
            break
        gain_db += missing_db
        if over_db:
            aim_dbtp -= over_db + _MARGIN_DB
            if tries == MAX_PASSES - 1:
                # It will not settle. With gain and aim lowered alike, the last result comes out again, softer.
                gain_db -= over_db + _MARGIN_DB
    return LoudnessReport(
        input_lufs=before.integrated_lufs,
        output_lufs=after.integrated_lufs,
        gain_db=gain_db,
        limited_db=limited_db,
        input_true_peak_dbtp=before.true_peak_dbtp,
        output_true_peak_dbtp=after.true_peak_dbtp,
        input_clipped_samples=clipped,
        output_clipped_samples=clipped_after,
        ceiling_dbtp=ceiling_dbtp,
        target_lufs=target_lufs,
        passes=tries,
    )


def _missing_db(lufs: float | None, target_lufs: float | None, limited_db: float) -> float:
    """What the limiter took of the loudness, as far as it may be made up for."""
    if lufs is None or target_lufs is None or not 0.0 < limited_db <= MAX_LIMITED_DB:
        return 0.0
    missing_db = target_lufs - lufs
    return missing_db if missing_db > _NEAR_LU else 0.0


def measure(path: Path, on_block: Callable[[], None] = _nothing) -> tuple[Loudness, int]:
    """Of a float32 WAV, block by block; and how many of its samples are over full scale."""
    track = TrackReader(path)
    return measure_blocks(track.blocks(), track.rate_hz, track.channels, on_block)


def measure_blocks(
    blocks: Iterable[Samples], rate_hz: int, channels: int, on_block: Callable[[], None] = _nothing
) -> tuple[Loudness, int]:
    """As `measure`, of a signal that comes block by block."""
    meter = LoudnessMeter(rate_hz, channels)
    clipped = 0
    for block in blocks:
        on_block()
        meter.push(block)
        clipped += int(np.count_nonzero(np.abs(block) > 1.0))
    return meter.finish(), clipped


def _amplified(track: TrackReader, gain_db: float, on_block: Callable[[], None]) -> Iterator[Samples]:
    gain = np.float32(math.pow(10.0, gain_db / 20.0))
    for block in track.blocks():
        on_block()
        yield block if gain_db == 0.0 else block * gain


def _limited(blocks: Iterator[Samples], limiter: TruePeakLimiter) -> Iterator[Samples]:
    for block in blocks:
        yield limiter.push(block)
    yield limiter.finish()


def _write(target: Path, like: TrackReader, blocks: Iterator[Samples]) -> None:
    with TrackWriter(target, like.rate_hz, like.channels) as writer:
        for block in blocks:
            writer.append(block)
