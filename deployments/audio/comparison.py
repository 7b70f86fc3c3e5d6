"""How two stretches of music differ: in nothing, in harmony, in when things begin, in loudness; and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.audio.loudness import lufs, weighted_power
from deployments.audio.samples import Samples

WINDOW_S = 2.0
"""The stretches that are compared where no bars are known."""

MIN_BAR_S = 0.25
SAME_TEMPO = 0.02
"""Tempos this close, as a share of each other, are one: then one grid serves both."""

_FRAME, _HOP = 4096, 2048
_LOWEST_HZ, _HIGHEST_HZ = 55.0, 2000.0
_QUIET_LUFS = -70.0

_Exact = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """`chroma` and `onsets` are 0 (alike) to 1 (nothing in common), `loudness` is in LU.

    `changed` are the first and the end of the samples that differ, counted from the beginning; None if all are
    equal.
    """

    chroma: float
    onsets: float
    loudness: float
    changed: tuple[int, int] | None

    @property
    def is_same(self) -> bool:
        return self.changed is None


SAME = Difference(0.0, 0.0, 0.0, None)


def compare(one: Samples, other: Samples, rate_hz: int) -> Difference:
    """Of float32 [channels, samples] each, of one number of channels; a longer one differs in what it has more."""
    common = min(one.shape[1], other.shape[1])
    differs = np.flatnonzero((one[:, :common] != other[:, :common]).any(axis=0))
    if one.shape[1] == other.shape[1] and not differs.size:
        return SAME
    first = int(differs[0]) if differs.size else common
    end = int(differs[-1]) + 1 if one.shape[1] == other.shape[1] else max(one.shape[1], other.shape[1])
    spectra = [_spectra(each.mean(axis=0, dtype=np.float64)) for each in (one, other)]
    chromas = [_chroma(each, rate_hz) for each in spectra]
    fluxes = [_flux(each) for each in spectra]
    frames = min(flux.size for flux in fluxes)
    levels = [max(_QUIET_LUFS, lufs(weighted_power(each, rate_hz))) for each in (one, other)]
    return Difference(
        chroma=_distance(*chromas),
        onsets=_distance(*(flux[:frames] for flux in fluxes)),
        loudness=abs(levels[1] - levels[0]),
        changed=(first, end),
    )


def bars(downbeats_s: Sequence[float], duration_s: float) -> list[float]:
    """The boundaries of bars in a stretch, its beginning and end among them. After the last downbeat bars go on as
    long as the one before. At least two downbeats are needed."""
    inside = [0.0]
    for downbeat_s in downbeats_s:
        if downbeat_s - inside[-1] >= MIN_BAR_S:
            inside.append(downbeat_s)
    bar_s = max(MIN_BAR_S, downbeats_s[-1] - downbeats_s[-2])
    while inside[-1] + bar_s < duration_s:
        inside.append(inside[-1] + bar_s)
    return [*(at for at in inside if at <= max(0.0, duration_s - MIN_BAR_S)), duration_s]


def windows(duration_s: float) -> list[float]:
    """The boundaries of `WINDOW_S` long stretches; the last one is shorter."""
    count = int(duration_s / WINDOW_S - 1e-9)
    return [*(index * WINDOW_S for index in range(count + 1)), duration_s]


def _spectra(mono: _Exact) -> _Exact:
    """Magnitudes, float64 [frames, bins]; what is shorter than a frame is one."""
    padded = np.pad(mono, (0, max(0, _FRAME - mono.size)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    spectra: _Exact = np.abs(np.fft.rfft(frames * np.hanning(_FRAME), axis=1))
    return spectra


def _chroma(spectra: _Exact, rate_hz: int) -> _Exact:
    """What sounds in each of 12 pitch classes, float64 [12]."""
    hz = np.fft.rfftfreq(_FRAME, 1.0 / rate_hz)
    heard = (hz >= _LOWEST_HZ) & (hz <= _HIGHEST_HZ)
    classes = np.round(12.0 * np.log2(hz[heard] / 440.0)).astype(np.int64) % 12
    powers = np.square(spectra[:, heard]).sum(axis=0)
    return np.bincount(classes, powers, minlength=12).astype(np.float64)


def _flux(spectra: _Exact) -> _Exact:
    """How much begins in each frame, float64 [frames]."""
    compressed = np.log1p(100.0 * spectra / max(float(spectra.max()), 1e-12))
    rises: _Exact = np.maximum(0.0, np.diff(compressed, axis=0, prepend=compressed[:1]))
    flux: _Exact = rises.sum(axis=1)
    return flux


def _distance(one: _Exact, other: _Exact) -> float:
    """1 less the cosine between two curves that are never negative; 0 for two empty ones."""
    norms = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    if max(norms) < 1e-9:
        return 0.0
    if min(norms) < 1e-9:
        return 1.0
    return min(1.0, max(0.0, 1.0 - float(one @ other) / (norms[0] * norms[1])))
