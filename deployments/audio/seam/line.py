"""A line of pieces rendered as one signal, exactly as long as the pieces together.

Each piece is new material; what joins it to the one before is its lead-in: how the codec that made the piece
renders the end of what came before. It is mixed over that end, so that at the seam the line is already wholly
the codec's signal and runs into the piece without a step. A piece without a (long enough) lead-in is joined
by a short fade out and in.

A seam changes the line only around itself, so the tail of a line is rendered from the last pieces alone.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

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


@dataclass(frozen=True, slots=True)
class PieceLength:
    """How long a piece is, and its lead-in (0: it has none), in samples per channel."""

    samples: int
    lead_in_samples: int = 0


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
    lengths = [
        PieceLength(piece.samples.shape[1], 0 if piece.lead_in is None else piece.lead_in.shape[1])
        for piece in pieces
    ]
    window = plan_window(lengths, rate_hz, first_sample, sum(length.samples for length in lengths))
    stretches = [pieces[each.piece].samples[:, each.start : each.end] for each in window.stretches]
    if not stretches:
        return pieces[-1].samples[:, :0].copy()
    lead_ins = {index: pieces[index].lead_in for index in window.lead_ins}
    return window.render(stretches, {index: each for index, each in lead_ins.items() if each is not None})


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples `start` to `end` (excluded) of piece number `piece`; none of one whose lead-in alone sounds."""

    piece: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Window:
    """What samples `start` to `end` (excluded) of a line are rendered from: `stretches`, in order and without
    a gap, and the lead-ins of the pieces of numbers `lead_ins`. Nothing else of the line has to be at hand."""

    start: int
    end: int
    stretches: tuple[Stretch, ...]
    lead_ins: tuple[int, ...]
    _first: int
    _seams: tuple[_Seam, ...]

    def render(self, stretches: Sequence[Samples], lead_ins: Mapping[int, Samples]) -> Samples:
        """float32 [channels, end - start]: what `render_line` has there, bit for bit.

        `stretches` are those of the plan, at least one, `lead_ins` by the number of their piece.
        """
        line = np.concatenate(stretches, axis=1)
        for seam in self._seams:
            if seam.crossfade:
                _crossfade(line[:, seam.start - self._first : seam.at - self._first], lead_ins[seam.index])
            else:
                _fade(line, seam, self._first)
        return line[:, self.start - self._first : self.end - self._first]


class LineRenderer:
    """`Window.render` for stretches that come in order, block by block: the same samples, bit for bit.

    Only what a seam that is still to come may change is held back: about as much as the longest lead-in. Call
    `begin` for each stretch of the window and then `push` all of it. Raises ValueError where a stretch is not as
    long as it was planned.
    """

    def __init__(self, window: Window, channels: int) -> None:
        self._window = window
        # Paired with the first sample that this seam, or any after it, changes.
        firsts = list(accumulate((seam.start for seam in reversed(window._seams)), min))[::-1]
        self._seams = deque(zip(window._seams, firsts, strict=True))
        self._stretches = deque(window.stretches)
        self._held: Samples = np.zeros((channels, 0), np.float32)
        self._given = self._stretch_end = window._first
        self._piece = 0

    @property
    def _filled(self) -> int:
        return self._given + int(self._held.shape[1])

    def begin(self, lead_in: Samples | None) -> None:
        """The next stretch begins. The lead-in of its piece is not needed again."""
        if self._filled != self._stretch_end:
            raise ValueError(f"the stretch of piece {self._piece} is not as long as it was planned")
        stretch = self._stretches.popleft()
        self._piece, self._stretch_end = stretch.piece, self._filled + stretch.end - stretch.start
        self._fade_what_is_there()
        if self._seams and self._seams[0][0].index == self._piece and self._seams[0][0].crossfade:
            if lead_in is None:
                raise ValueError(f"piece {self._piece} has no lead-in, though one was announced")
            seam = self._seams.popleft()[0]
            _crossfade(self._held[:, seam.start - self._given : seam.at - self._given], lead_in)

    def push(self, samples: Samples) -> Samples:
        """The next part of the stretch; returns what of the window is finished with it, perhaps nothing."""
        self._held = np.concatenate([self._held, samples], axis=1)
        if self._filled > self._stretch_end:
            raise ValueError(f"the stretch of piece {self._piece} is longer than it was planned")
        self._fade_what_is_there()
        unchanging = min(self._filled, self._seams[0][1]) if self._seams else self._filled
        finished, self._held = np.split(self._held, [max(0, unchanging - self._given)], axis=1)
        position = self._given
        self._given += finished.shape[1]
        return finished[:, max(0, self._window.start - position) : max(0, self._window.end - position)]

    def _fade_what_is_there(self) -> None:
        """Both sides of a fade have to be there."""
        while self._seams and not self._seams[0][0].crossfade and self._seams[0][0].end <= self._filled:
            seam = self._seams.popleft()[0]
            _fade(self._held, seam, self._given)


def plan_window(lengths: Sequence[PieceLength], rate_hz: int, start: int, end: int) -> Window:
    """What has to be at hand for samples `start` to `end` (excluded) of the line of these pieces."""
    if not lengths:
        raise ValueError("a line needs at least one piece")
    starts = list(accumulate((length.samples for length in lengths), initial=0))
    fade_samples = round(FADE_S * rate_hz)
    first, last = start, end
    seams: list[_Seam] = []
    for index in range(len(lengths) - 1, 0, -1):
        seam = _plan_seam(index, lengths[index].lead_in_samples, starts, fade_samples)
        # The last seam first: it mixes over what the ones before it have left, all along.
        if seam.end > first and seam.start < last:
            seams.append(seam)
            first, last = min(first, seam.start), max(last, seam.end)
    lead_ins = tuple(seam.index for seam in reversed(seams) if seam.crossfade)
    stretches = tuple(
        Stretch(index, max(first, begin) - begin, min(last, stop) - begin)
        for index, (begin, stop) in enumerate(pairwise(starts))
        if max(first, begin) < min(last, stop) or index in lead_ins
    )
    return Window(start, end, stretches, lead_ins, first, tuple(reversed(seams)))


def _plan_seam(index: int, lead_in_samples: int, starts: Sequence[int], fade_samples: int) -> _Seam:
    at, end = starts[index], starts[index + 1]
    mixed = min(at, lead_in_samples)
    if mixed >= max(1, fade_samples):
        return _Seam(index, at - mixed, at, at, crossfade=True)
    return _Seam(index, max(0, at - fade_samples), at, min(end, at + fade_samples), crossfade=False)


def _fade(line: Samples, seam: _Seam, offset: int) -> None:
    """Out before the seam and in behind it, in place; `line` begins with sample `offset`."""
    _multiply(line[:, seam.start - offset : seam.at - offset], _ramp(seam.at - seam.start)[::-1])
    _multiply(line[:, seam.at - offset : seam.end - offset], _ramp(seam.end - seam.at))


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
