"""A take joined to its parent as it comes from the model: aligned, matched in loudness, without a click or DC."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.audio.levels import MAX_GAIN_DB, SILENT_BELOW_DBFS, last_samples, rms_dbfs, soft_limit
from deployments.audio.loudness import MIN_RATE_HZ, integrated_lufs, weighted_power
from deployments.audio.resample import StreamingResampler, to_channels
from deployments.audio.samples import Samples, SoundFormat
from deployments.audio.seam.continuation import TooFewSamples
from deployments.audio.seam.grid import MOST_STRETCH, Grid, Lock, lock
from deployments.audio.seam.joining import Align, Joining, Joint
from deployments.audio.seam.leveller import Leveller
from deployments.audio.seam.mending import AROUND_S, mend
from deployments.audio.seam.phase import Lag, find_lag
from deployments.audio.seam.stretch import stretched

LONGEST_LAG_S = 0.020
"""A frame of MusicGen's codec."""

COMPARED_S = 0.5
"""How much of the codec's rendering is laid on the parent."""

LEAST_LIKENESS = 0.5
"""A rendering that is less like the parent says nothing about where it lies."""

MATCHED_S = 3.0
"""EBU R128's short term."""

MOST_OPENING_GAIN_DB = 12.0
LEAST_OFFSET = 0.001

LINE_S = 60.0
"""How much of the line's end its loudness and its grid are found from."""

TARGET_S = 30.0

_Exact = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seam:
    """What a take is joined to: `before` is the line's end as it is rendered, [channels, samples] in the chain's
    format, up to a minute of it. `target_lufs` and `grid` (in seconds from the seam) are what the line has had so
    far; None: they are found in `before`. `room_s`: by so much more than the take's own length the generator
    gives."""

    joining: Joining
    before: Samples
    room_s: float
    target_lufs: float | None = None
    grid: Grid | None = None

    @property
    def has_beats(self) -> bool:
        return self.joining.align is Align.BEAT and self.grid is not None


FindGrid = Callable[[Samples, int], Grid | None]
"""The grid of a clip, [channels, samples] and its rate in Hz, in seconds from its beginning; None if it is not sure
to have one."""


def wanted_room_s(joining: Joining, grid: Grid | None, duration_s: float, *, has_rendering: bool) -> float:
    """How much more than the take's own length a generator should give, for what `joining` may need of it."""
    room_s = 0.0
    if has_rendering:
        room_s += LONGEST_LAG_S if joining.align is not Align.NONE else 0.0
    else:
        room_s += joining.crossfade_s
    if joining.align is Align.BEAT and grid is not None:
        room_s += 1.5 * grid.period_s + MOST_STRETCH * duration_s
    return room_s


class Joiner:
    """Like `Continuation`, from which it takes over for takes that say how they are joined.

    `reconstruction` (the codec's rendering of the parent's end; may be empty) and the new audio are one signal. As
    much of it as the decisions need is held back: 100 ms of new audio where there is a rendering, 3 s where there
    is none and the loudness is matched, and all of it where beats are aligned. What is decided is decided once, so
    what comes out is the take as it is kept, and no cut into pieces changes a bit of it.

    Where there is a rendering, it is laid on the parent (by correlation, within 20 ms), and the take begins by as
    much later or earlier; its loudness over 3 s and its DC become the parent's, for the whole take; a click between
    rendering and new audio is interpolated. Where there is none, the first `crossfade_s` of the take itself are its
    lead-in.
    """

    def __init__(
        self,
        reconstruction: Samples,
        *,
        given: SoundFormat,
        wanted: SoundFormat,
        seam: Seam,
        new_samples: int,
        find_grid: FindGrid,
    ) -> None:
        self._wanted = wanted
        self._seam = seam
        self._find_grid = find_grid
        self._resampler = StreamingResampler(given.rate_hz, wanted.rate_hz, given.channels)
        self._tolerance = math.ceil(wanted.rate_hz / given.rate_hz) + 1
        self._new_samples = new_samples
        self._missing = new_samples
        self._rendered = round(reconstruction.shape[1] * wanted.rate_hz / given.rate_hz)
        lead_s = seam.joining.crossfade_s
        self._lead_samples = self._samples(lead_s if self._rendered else min(lead_s, seam.room_s))
        self._waiting: list[Samples] = [np.zeros((wanted.channels, 0), np.float32)]
        self._waiting_samples = 0
        self._decided: _Decided | None = None
        self._last = np.zeros((wanted.channels, 1), np.float32)
        self.lead_in: Samples = np.zeros((wanted.channels, 0), np.float32)
        """Whole once the first new audio has come out."""
        self._take(self._resampler.push(reconstruction), over=False)

    @property
    def gain(self) -> float:
        return 1.0 if self._decided is None else self._decided.gain

    def push(self, samples: Samples) -> Samples:
        """The next stretch from the model; returns the new audio that it completes, perhaps none."""
        return self._take(self._resampler.push(samples), over=False)

    def finish(self) -> Samples:
        """The rest of the new audio. Raises TooFewSamples."""
        rest = self._take(self._resampler.finish(), over=True)
        if self._missing > self._tolerance:
            raise TooFewSamples(f"{self._missing} samples too few")
        # Resampling rounds the last samples away.
        return np.concatenate([rest, np.repeat(self._last, self._missing, axis=1)], axis=1)

    def joint(self) -> Joint:
        """What was done, once the take is finished."""
        if self._decided is None:
            raise ValueError("nothing has been decided yet")
        return self._decided.joint(self._wanted.rate_hz)

    def _samples(self, length_s: float) -> int:
        return round(length_s * self._wanted.rate_hz)

    @property
    def _needed(self) -> int | None:
        """How many samples of the signal are waited for; None for all of it."""
        if self._seam.has_beats:
            return None
        if self._rendered:
            needed: int = self._rendered + self._samples(LONGEST_LAG_S + AROUND_S)
            return needed
        matched_s = MATCHED_S if self._seam.joining.match_loudness else 0.0
        return self._lead_samples + self._samples(matched_s)

    def _take(self, resampled: Samples, *, over: bool) -> Samples:
        sound = to_channels(resampled, self._wanted.channels)
        if self._decided is not None:
            return self._give(sound)
        self._waiting.append(sound)
        self._waiting_samples += sound.shape[1]
        needed = self._waiting_samples if self._needed is None else self._needed
        if not over and (self._needed is None or self._waiting_samples < needed):
            return sound[:, :0]
        signal = np.concatenate(self._waiting, axis=1)
        self._waiting = []
        self._decided, new = self._decide(signal, min(needed, signal.shape[1]))
        return self._give(new)

    def _give(self, new: Samples) -> Samples:
        """The next stretch of new audio, at the take's level."""
        assert self._decided is not None  # noqa: S101 - both callers have seen to it
        new = new[:, : self._missing]
        self._missing -= new.shape[1]
        levelled = self._decided.levelled(new)
        if levelled.shape[1]:
            self._last = levelled[:, -1:]
        return levelled

    def _decide(self, signal: Samples, heard: int) -> tuple[_Decided, Samples]:
        """What to do, from the first `heard` samples of the signal, and the new audio that there is so far, still
        at the model's level."""
        rate_hz, joining = self._wanted.rate_hz, self._seam.joining
        mended, begins = 0, self._lead_samples
        lag: Lag | None = None
        if self._rendered:
            head, mended = mend(signal[:, :heard], self._rendered, rate_hz)
            signal = np.concatenate([head, signal[:, heard:]], axis=1)
            lag = self._lag(head)
            begins = self._rendered + lag.samples
        gain = self._gain(signal[:, :heard], begins)
        offset = self._offset(signal, begins, gain) if self._rendered else np.zeros((signal.shape[0], 1))
        found = self._lock(signal[:, begins:]) if self._seam.has_beats else None
        if found is not None:
            begins += round(found.from_s * rate_hz)
        decided = _Decided(
            seam=self._seam,
            lag_samples=begins - (self._rendered or self._lead_samples),
            likeness=None if lag is None else lag.likeness,
            gain=gain,
            offset=offset,
            mended_samples=mended,
            target_lufs=self._target_lufs(),
            lock=found,
            duration_s=self._new_samples / rate_hz,
            rate_hz=rate_hz,
        )
        if joining.crossfade_s:
            self.lead_in = soft_limit(
                decided.adjusted(signal[:, max(0, begins - self._lead_samples) : begins])
            )
        new = signal[:, begins:]
        if found is not None:
            new = stretched(new, found.stretch, self._new_samples, rate_hz)
        return decided, new

    def _lag(self, head: Samples) -> Lag:
        """How much later than the parent its rendering is. None is looked for where the two are hardly alike."""
        longest = self._samples(LONGEST_LAG_S) if self._seam.joining.align is not Align.NONE else 0
        longest = min(longest, head.shape[1] - self._rendered, self._samples(self._seam.room_s))
        length = min(self._samples(COMPARED_S), self._seam.before.shape[1], self._rendered - longest)
        if length < self._samples(LONGEST_LAG_S):
            return Lag(0, 0.0)
        reference = last_samples(self._seam.before, length)
        around = head[:, self._rendered - length - longest : self._rendered + longest]
        found = find_lag(reference, around)
        return found if found.likeness >= LEAST_LIKENESS else Lag(0, found.likeness)

    def _gain(self, head: Samples, begins: int) -> float:
        """The factor that makes the rendering (or, without one, the take's opening) as loud as the parent."""
        rate_hz = self._wanted.rate_hz
        if not self._seam.joining.match_loudness or rate_hz < MIN_RATE_HZ:
            return 1.0
        length = min(self._samples(MATCHED_S), self._seam.before.shape[1])
        given = last_samples(head[:, :begins], length) if self._rendered else head[:, :length]
        parent = last_samples(self._seam.before, min(length, given.shape[1]))
        if min(rms_dbfs(given), rms_dbfs(parent)) < SILENT_BELOW_DBFS:
            return 1.0
        most = math.pow(10.0, (MAX_GAIN_DB if self._rendered else MOST_OPENING_GAIN_DB) / 20.0)
        power = weighted_power(given, rate_hz)
        if not power > 0.0:
            return 1.0
        return min(most, max(1.0 / most, math.sqrt(weighted_power(parent, rate_hz) / power)))

    def _offset(self, signal: Samples, begins: int, gain: float) -> _Exact:
        """The DC that the rendering has and the parent has not, after `gain`, [channels, 1]."""
        length = min(self._samples(MATCHED_S), self._seam.before.shape[1], begins)
        if not length:
            return np.zeros((signal.shape[0], 1))
        given = signal[:, begins - length : begins].mean(axis=1, keepdims=True, dtype=np.float64)
        parent = last_samples(self._seam.before, length).mean(axis=1, keepdims=True, dtype=np.float64)
        offset: _Exact = given * gain - parent
        return np.where(np.abs(offset) < LEAST_OFFSET, 0.0, offset)

    def _target_lufs(self) -> float | None:
        if not self._seam.joining.match_loudness or self._wanted.rate_hz < MIN_RATE_HZ:
            return None
        if self._seam.target_lufs is not None:
            return self._seam.target_lufs
        return integrated_lufs(last_samples(self._seam.before, self._samples(TARGET_S)), self._wanted.rate_hz)

    def _lock(self, new: Samples) -> Lock | None:
        """How the new audio is read to be on the line's beats; None where it has no sure grid, another tempo, or is
        too short for it."""
        if self._seam.grid is None:
            return None
        grid = self._find_grid(new, self._wanted.rate_hz)
        duration_s = self._new_samples / self._wanted.rate_hz
        found = None if grid is None else lock(self._seam.grid, grid, duration_s)
        if found is None:
            return None
        read = round((found.from_s + found.stretch * duration_s) * self._wanted.rate_hz)
        return found if read <= new.shape[1] else None


class _Decided:
    """A take's level and where it was cut."""

    def __init__(
        self,
        *,
        seam: Seam,
        lag_samples: int,
        likeness: float | None,
        gain: float,
        offset: _Exact,
        mended_samples: int,
        target_lufs: float | None,
        lock: Lock | None,
        duration_s: float,
        rate_hz: int,
    ) -> None:
        self.gain = gain
        self._seam = seam
        self._lag_samples = lag_samples
        self._likeness = likeness
        self._offset = offset
        self._mended_samples = mended_samples
        self._target_lufs = target_lufs
        self._lock = lock
        self._duration_s = duration_s
        self._leveller = None if target_lufs is None else Leveller(rate_hz, seam.before, target_lufs)

    def adjusted(self, samples: Samples) -> Samples:
        """At the parent's level."""
        exact: Samples = (samples * self.gain - self._offset).astype(np.float32)
        return exact

    def levelled(self, samples: Samples) -> Samples:
        """The next stretch of the take, as it is kept."""
        adjusted = self.adjusted(samples)
        return soft_limit(adjusted if self._leveller is None else self._leveller.push(adjusted))

    def joint(self, rate_hz: int) -> Joint:
        return Joint(
            lag_s=self._lag_samples / rate_hz,
            likeness=self._likeness,
            gain_db=20.0 * math.log10(self.gain),
            levelled_db=0.0 if self._leveller is None else self._leveller.gain_db,
            offset=tuple(float(value) for value in self._offset[:, 0]),
            mended_samples=self._mended_samples,
            target_lufs=self._target_lufs,
            lock=self._lock,
            grid=None if self._lock is None else self._seam.grid,
        )
