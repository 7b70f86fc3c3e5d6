"""A clip in a few dozen numbers: what the adapter judges it by.

None of them depends on how loud the clip is played.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from deployments.engines.analysis.analysis import Key, Rhythm
from deployments.engines.analysis.mood.timbre import BANDS, HOP_S, Timbre
from deployments.engines.analysis.pitch.chroma import Peaks, chroma_of

_GROUPS = 8
_PHASES = 8
_LOW_BANDS, _HIGH_BANDS = slice(0, 3), slice(15, BANDS)
_TELLING_DB = 45.0

_Values = npt.NDArray[np.float64]


def describe(rhythm: Rhythm, key: Key, timbre: Timbre, peaks: Peaks) -> dict[str, float]:
    """Finite numbers by name, always the same names in the same order."""
    found = {
        **dict(_spectrum(timbre)),
        **dict(_dynamics(timbre)),
        **dict(_onsets(timbre)),
        **dict(_beat(rhythm, timbre)),
        **dict(_tones(key, peaks)),
    }
    return {name: value if math.isfinite(value) else 0.0 for name, value in found.items()}


def _spectrum(timbre: Timbre) -> Iterator[tuple[str, float]]:
    loud = _loud_frames(timbre)
    octaves = np.log2(np.maximum(timbre.centroid_hz[loud], 20.0) / 1000.0)
    yield "centroid_octaves", float(octaves.mean())
    yield "centroid_spread", float(octaves.std())
    yield "rolloff_octaves", float(np.log2(np.maximum(timbre.rolloff_hz[loud], 20.0) / 1000.0).mean())
    flatness = np.log10(np.maximum(timbre.flatness[loud], 1e-8))
    yield "flatness", float(flatness.mean())
    yield "flatness_spread", float(flatness.std())
    powers = 10 ** (timbre.bands_db[loud].astype(np.float64) / 10)
    shares = powers.mean(axis=0) / max(float(powers.mean(axis=0).sum()), 1e-12)
    for group, bands in enumerate(np.array_split(np.arange(BANDS), _GROUPS)):
        yield f"share_{group}_db", 10.0 * math.log10(max(float(shares[bands].sum()), 1e-6))
    yield "low_to_high_db", 10.0 * math.log10((shares[:4].sum() + 1e-6) / (shares[12:].sum() + 1e-6))


def _dynamics(timbre: Timbre) -> Iterator[tuple[str, float]]:
    level = np.maximum(timbre.level_db, timbre.level_db.max() - 60.0).astype(np.float64)
    yield "level_spread_db", float(level.std())
    yield "level_range_db", float(np.percentile(level, 95) - np.percentile(level, 5))
    yield "crest_db", float(level.max() - 10.0 * math.log10(max(float((10 ** (level / 10)).mean()), 1e-12)))
    spread = timbre.bands_db[_loud_frames(timbre)].astype(np.float64).std(axis=0)
    for group, bands in enumerate(np.array_split(np.arange(BANDS), _GROUPS)):
        yield f"band_spread_{group}_db", float(spread[bands].mean())


def _onsets(timbre: Timbre) -> Iterator[tuple[str, float]]:
    for name, bands in (("", slice(0, BANDS)), ("low_", _LOW_BANDS), ("high_", _HIGH_BANDS)):
        rise = onset_strength(timbre, bands)
        yield f"{name}rise_mean", float(rise.mean())
        yield f"{name}rise_peak", float(np.percentile(rise, 97))
        is_onset = (rise[1:-1] > rise[:-2]) & (rise[1:-1] >= rise[2:]) & (rise[1:-1] > 3.0 + rise.mean())
        yield f"{name}onsets_per_s", float(is_onset.sum()) / max(len(rise) * HOP_S, 1.0)


def _beat(rhythm: Rhythm, timbre: Timbre) -> Iterator[tuple[str, float]]:
    """Where in a beat notes begin: swing, off-beats and sixteenths show here."""
    yield "tempo_octaves", math.log2(rhythm.bpm / 120.0) if rhythm.bpm else 0.0
    yield "tempo_confidence", rhythm.confidence
    yield "is_triple", float(rhythm.meter == 3)
    beats_s = np.array(rhythm.beats_s)
    for name, bands in (("low", _LOW_BANDS), ("high", _HIGH_BANDS)):
        profile = np.zeros(_PHASES)
        if len(beats_s) >= 4:
            rise = onset_strength(timbre, bands)
            starts, steps = beats_s[:-1, None], np.diff(beats_s)[:, None]
            times_s = starts + steps * (np.arange(3 * _PHASES) / (3 * _PHASES))
            heard = np.interp(times_s, np.arange(len(rise)) * HOP_S, rise).mean(axis=0)
            # The frame before shares an onset that falls between two.
            profile = heard.reshape(_PHASES, 3).max(axis=1) / max(float(heard.mean()), 1e-6)
        for phase, value in enumerate(profile):
            yield f"{name}_phase_{phase}", float(np.log1p(min(float(value), 20.0)))


def _tones(key: Key, peaks: Peaks) -> Iterator[tuple[str, float]]:
    mode = 0.0 if key.name is None else 1.0 if key.name.endswith("major") else -1.0
    yield "mode", mode * (0.5 + 0.5 * key.confidence)
    yield "key_confidence", key.confidence
    chroma = chroma_of(peaks, key.tuning_cents or 0.0, 40.0, 96.0).astype(np.float64)
    sums = chroma.sum(axis=1)
    yield "tones_per_frame", float((chroma > 0.5).sum(axis=1).mean())
    yield "tone_weight", float(sums.mean())
    shares = chroma / np.maximum(sums[:, None], 1e-9)
    change = np.abs(np.diff(shares, axis=0)).sum(axis=1)
    yield "tone_change", float(change.mean()) if change.size else 0.0
    whole = chroma.sum(axis=0) / max(float(chroma.sum()), 1e-9)
    yield "tone_entropy", float(-(whole * np.log(whole + 1e-9)).sum())
    weight = np.maximum(float(peaks.weight.sum()), 1e-9)
    yield "lasting", float((peaks.weight * peaks.lasting).sum() / weight)
    yield "pitch_mean", float((peaks.weight * peaks.pitch).sum() / weight) if peaks.pitch.size else 60.0
    yield "peaks_per_frame", peaks.pitch.size / max(peaks.frames, 1)


def onset_strength(timbre: Timbre, bands: slice) -> _Values:
    """[frames]: by how many decibels these bands rise, in the mean. What is 45 dB under the clip's loudest
    does not count."""
    levels = np.maximum(timbre.bands_db[:, bands].astype(np.float64), timbre.bands_db.max() - _TELLING_DB)
    strength: _Values = np.maximum(np.diff(levels, axis=0, prepend=levels[:1]), 0.0).mean(axis=1)
    return strength


def _loud_frames(timbre: Timbre) -> npt.NDArray[np.bool_]:
    level = timbre.level_db
    return np.asarray(level >= level.max() - 40.0)
