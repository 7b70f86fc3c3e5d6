"""A line of pieces rendered as one signal, exactly as long as the pieces together.

Each piece is new material; what joins it to the one before is its lead-in: how the codec that made the piece
renders the end of what came before. It is mixed over that end, so that at the seam the line is already wholly
the codec's signal and runs into the piece without a step. A piece without a (long enough) lead-in is joined
by a short fade out and in.

A seam changes the line only around itself, so the tail of a line is rendered from the last pieces alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples

_Exact = npt.NDArray[np.float64]

FADE_S = 0.010
"""The fade around a seam without a lead-in; a lead-in shorter than this is no use for a crossfade."""


@dataclass(frozen=True, slots=True)
class Piece:
    """New material, float32 [channels, samples], and the rendering of what comes just before it, ending where
    it begins, in the same format."""

    samples: Samples
    lead_in: Samples | None = None


@dataclass(frozen=True, slots=True)
class _Seam:
    """The line changes within [start, end); piece `index` begins at `at`. `start` < `at` = `end` in a
    crossfade."""

    index: int
    start: int
    at: int
    end: int
    crossfade: bool


def render_line(pieces: Sequence[Piece], rate_hz: int) -> Samples:
    """float32 [channels, samples] of the whole line; `pieces` are its nodes in order, at least one, all of one
    rate and one number of channels."""
    return _render(pieces, rate_hz, 0)


def render_tail(pieces: Sequence[Piece], rate_hz: int, duration_s: float) -> Samples:
    """The last round(duration_s * rate_hz) samples of `render_line`, bit for bit (all of it if it is shorter),
    without work for pieces that do not sound in it."""
    length = sum(piece.samples.shape[1] for piece in pieces)
    return _render(pieces, rate_hz, max(0, length - round(duration_s * rate_hz)))


def _render(pieces: Sequence[Piece], rate_hz: int, first_sample: int) -> Samples:
    """The line from `first_sample` on."""
    if not pieces:
        raise ValueError("a line needs at least one piece")
    starts = list(accumulate((piece.samples.shape[1] for piece in pieces), initial=0))
    needed_from = first_sample
    seams: list[_Seam] = []
    for index in range(len(pieces) - 1, 0, -1):
        seam = _plan_seam(index, pieces[index], starts, round(FADE_S * rate_hz))
        if seam.end > needed_from:  # the last seam first: it mixes over what the ones before it have left
            seams.append(seam)
            needed_from = min(needed_from, seam.start)
    sounding = [piece.samples for piece, end in zip(pieces, starts[1:], strict=True) if end > needed_from]
    if not sounding:
        return pieces[-1].samples[:, :0].copy()
    line = np.concatenate(sounding, axis=1)
    offset = starts[-1] - line.shape[1]
    for seam in reversed(seams):
        lead_in = pieces[seam.index].lead_in
        if seam.crossfade and lead_in is not None:
            _crossfade(line[:, seam.start - offset : seam.at - offset], lead_in)
        else:
            _multiply(line[:, seam.start - offset : seam.at - offset], _ramp(seam.at - seam.start)[::-1])
            _multiply(line[:, seam.at - offset : seam.end - offset], _ramp(seam.end - seam.at))
    return line[:, first_sample - offset :]


def _plan_seam(index: int, piece: Piece, starts: Sequence[int], fade_samples: int) -> _Seam:
    at, end = starts[index], starts[index + 1]
    mixed = min(at, piece.lead_in.shape[1]) if piece.lead_in is not None else 0
    if mixed >= max(1, fade_samples):
        return _Seam(index, at - mixed, at, at, crossfade=True)
    return _Seam(index, max(0, at - fade_samples), at, min(end, at + fade_samples), crossfade=False)


def _multiply(stretch: Samples, gains: _Exact) -> None:
    stretch[:] = stretch * gains


def _crossfade(before: Samples, lead_in: Samples) -> None:
    """Turn `before` (a view of the line) into the end of `lead_in`, in place.

    The two are alike as far as the codec is good. So that power neither dips nor bulges, the sum of the gains
    is corrected for how alike they are: linear for equal signals, equal power for unrelated ones. Their DC
    goes over linearly, whatever the rest does.
    """
    from_dc, from_ac = _dc_and_ac(before)
    to_dc, to_ac = _dc_and_ac(lead_in[:, lead_in.shape[1] - before.shape[1] :])
    rising = _ramp(before.shape[1])
    falling = 1.0 - rising
    likeness = _correlation(from_ac, to_ac)
    power = falling * falling + rising * rising + 2.0 * likeness * falling * rising
    mixed_ac = (from_ac * falling + to_ac * rising) / np.sqrt(power)
    before[:] = mixed_ac + from_dc * falling + to_dc * rising


def _dc_and_ac(samples: Samples) -> tuple[_Exact, _Exact]:
    """A copy, split into each channel's mean, [channels, 1], and what moves around it, [channels, samples]."""
    exact = np.array(samples, dtype=np.float64, order="C")
    dc = exact.mean(axis=1, keepdims=True)
    return dc, exact - dc


def _correlation(one: _Exact, other: _Exact) -> float:
    """Over all channels, 0..1. Opposite signals count as unrelated: no gain gives their sum back its power."""
    scale = math.sqrt(float(np.square(one).sum()) * float(np.square(other).sum()))
    return min(1.0, max(0.0, float((one * other).sum()) / scale)) if scale > 0.0 else 0.0


def _ramp(length: int) -> _Exact:
    """A raised cosine from just above 0 to exactly 1."""
    phase = np.arange(1, length + 1) / max(1, length)
    return 0.5 - 0.5 * np.cos(np.pi * phase)
