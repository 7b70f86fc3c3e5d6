"""Which stretches of a track go through which network, and what of each answer counts how much.

All of it is what `demucs.apply.apply_model` (4.1.0) does, as arithmetic on sample positions: positions are in
the track, negative before its beginning; the track is surrounded by zeros.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.engines.common.errors import BadRequest
from deployments.engines.separation.protocol import Padding, Part

MAX_SHIFT_S = 0.5


@dataclass(frozen=True, slots=True)
class Stretch:
    """One segment: `samples` from `start` on, which go to the network as `padded_samples` from `padded_start`
    on, and come back as the middle of its answer from `trim` on."""

    start: int
    samples: int
    padded_start: int
    padded_samples: int

    @property
    def trim(self) -> int:
        return (self.padded_samples - self.samples) // 2


@dataclass(frozen=True, slots=True)
class Pass:
    """The track once through one part: from `start` (not after 0) to the track's end, in segments of
    `segment_samples` (the last one shorter), each `stride_samples` after the one before."""

    part: int
    start: int
    track_samples: int
    segment_samples: int
    stride_samples: int
    asked_samples: int | None
    of: Part

    def stretches(self) -> Iterator[Stretch]:
        """In order; without those that end before the track begins, which count for nothing."""
        for start in range(self.start, self.track_samples, self.stride_samples):
            if start + self.segment_samples <= 0:
                continue
            samples = min(self.segment_samples, self.track_samples - start)
            padded = padded_samples(self.of, samples, self.asked_samples)
            yield Stretch(start, samples, start - (padded - samples) // 2, padded)

    def count(self) -> int:
        """How many stretches there are."""
        starts = range(self.start, self.track_samples, self.stride_samples)
        before = range(self.start, 1 - self.segment_samples, self.stride_samples)
        return len(starts) - len(before)


def plan_passes(
    parts: Sequence[Part],
    *,
    wanted: Sequence[int],
    track_samples: int,
    rate_hz: int,
    overlap: float,
    segment_s: float | None,
    shifts: int,
    seed: int,
) -> list[list[Pass]]:
    """The passes of each part; none for a part without weight for any of the `wanted` sources (by index).

    Raises BadRequest for an overlap with which segments would not advance.
    """
    return [
        [
            _plan_pass(index, part, track_samples, rate_hz, overlap, segment_s, start)
            for start in _starts(index, rate_hz, shifts, seed)
        ]
        if any(part.weights[source] for source in wanted)
        else []
        for index, part in enumerate(parts)
    ]


def _plan_pass(
    index: int,
    part: Part,
    track_samples: int,
    rate_hz: int,
    overlap: float,
    segment_s: float | None,
    start: int,
) -> Pass:
    asked = None if segment_s is None else int(rate_hz * segment_s)
    segment = part.segment_samples if asked is None else asked
    stride = int((1 - overlap) * segment)
    if stride < 1:
        raise BadRequest(f"overlap must let segments of {segment} samples advance, not {overlap}")
    return Pass(index, start, track_samples, segment, stride, asked, part)


def _starts(part: int, rate_hz: int, shifts: int, seed: int) -> list[int]:
    most = int(MAX_SHIFT_S * rate_hz)
    return [shift_offset(seed, part, shift, most) - most for shift in range(shifts)] if shifts else [0]


def shift_offset(seed: int, part: int, shift: int, most: int) -> int:
    """0..most, as if drawn: the same for the same seed, part and shift, whatever else is separated."""
    digest = hashlib.sha256(f"{seed} {part} {shift}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (most + 1)


def padded_samples(part: Part, samples: int, asked_samples: int | None) -> int:
    """How long a segment of `samples` must be made for a part. `asked_samples` is the segment length that was
    asked for, None for the part's own."""
    match part.padding:
        case Padding.WHOLE:
            return part.longest_samples if asked_samples is None else asked_samples
        case Padding.ASKED:
            return samples if asked_samples is None else asked_samples
        case Padding.NONE:
            return samples
        case Padding.STRIDED:
            return _valid_samples(part, samples)


def _valid_samples(part: Part, samples: int) -> int:
    """`demucs.demucs.Demucs.valid_length`, in whole numbers."""
    strides = part.strides
    if strides is None:
        raise ValueError("a part with strided padding says its strides")
    length = 2 * samples if strides.resamples else samples
    for _ in range(strides.depth):
        length = max(1, -((strides.kernel_samples - length) // strides.stride_samples) + 1)
    for _ in range(strides.depth):
        length = (length - 1) * strides.stride_samples + strides.kernel_samples
    return -(-length // 2) if strides.resamples else length


def ramp(segment_samples: int) -> npt.NDArray[np.float32]:
    """How much each sample of a segment counts: a triangle, 1 in the middle (`transition_power` 1)."""
    rising = np.arange(1, segment_samples // 2 + 1)
    falling = np.arange(segment_samples - segment_samples // 2, 0, -1)
    triangle = np.concatenate([rising, falling]).astype(np.float32)
    weight: npt.NDArray[np.float32] = triangle / triangle.max()
    return weight
