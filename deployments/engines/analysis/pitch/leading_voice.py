"""The leading voice of a clip, as a `PitchTracker`: CREPE's pitch where one voice sounds alone, which is what CREPE
was made for, and the most salient line of pitches where others sound along."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from deployments.engines.analysis.analysis import Melody
from deployments.engines.analysis.clip import Clip
from deployments.engines.analysis.pitch.crepe import PITCHES_HZ, RATE_HZ, Crepe
from deployments.engines.analysis.pitch.melody import HOP_S, LONGEST_S, likeliest_path
from deployments.engines.analysis.pitch.salience import find_salience

_Values = npt.NDArray[np.float32]
_Numbers = npt.NDArray[np.int64]

_HOP_SAMPLES = round(HOP_S * RATE_HZ)
_PITCHES = slice(40, 345)
"""50 Hz to 1.7 kHz. Below, CREPE hears hum."""

_SURE = 0.5
_ACCOMPANIED, _ALONE = 0.88, 0.97
"""In so many of its frames CREPE is sure of a pitch: up to the first share others sound along, from the second on
there is one voice. (Of the corpus's melodies: alone 0.82 and more, with bass 0.58-0.94, with chords 0.26-0.72.)"""

_SALIENCE_GAIN, _SALIENCE_FLOOR = 3.0, 0.2
_RISE = 0.1
"""Melodies lie above what accompanies them: so much, in the logarithm of the salience, for each octave."""

_BASS_HZ, _BASS_FALL = 90.0, 20.0
"""Lines below it are taken for the bass."""

_SURENESS_FLOOR = 0.01
_HELP = 0.3
"""What the salience counts where there is one voice: it knows octaves better."""

_MOST_STEP_BINS = 12
_FALL = 0.25
_LEAP = -10.0
"""How much the logarithm of a step's likelihood falls with each bin, and that of a step to anywhere."""

_RIGHT, _RIGHT_FLOOR = (0.25, 1.6, 0.3), 0.05
"""Of a logistic regression on the corpus's development clips: how likely a frame's pitch is the melody's, where
others sound along, by the logarithm of its salience and CREPE's sureness."""

_VOICED = 0.2
"""How likely a pitch must be (torchcrepe's documentation takes 0.21 of CREPE's own sureness)."""

_SHORTEST_FRAMES = 6
"""What is voiced for less than 60 ms is no note."""


class LeadingVoice:
    """Satisfies `PitchTracker`. The same clip gives the same melody."""

    def __init__(self, crepe: Crepe) -> None:
        self._crepe = crepe

    @property
    def method(self) -> str:
        return f"{self._crepe.name}+salience"

    @property
    def weights_sha256(self) -> str:
        return self._crepe.weights_sha256

    def follow(self, clip: Clip, *, is_given_up: Callable[[], bool]) -> Melody | None:
        samples = clip.at(RATE_HZ, LONGEST_S)
        sureness = self._crepe.listen(samples, hop_samples=_HOP_SAMPLES, is_given_up=is_given_up)
        if sureness is None:
            return None
        pitches_hz = PITCHES_HZ[_PITCHES]
        salience = find_salience(samples, pitches_hz, rate_hz=RATE_HZ, hop_samples=_HOP_SAMPLES)
        f0_hz, confidence = follow_pitches(sureness[:, _PITCHES], salience, pitches_hz)
        voiced = _lasting(confidence >= _VOICED)
        return Melody(
            hop_s=HOP_S,
            f0_hz=tuple(float(hz) if sounds else None for hz, sounds in zip(f0_hz, voiced, strict=True)),
            confidence=tuple(confidence.astype(float).tolist()),
            covered_s=min(clip.duration_s, LONGEST_S),
            method=self.method,
        )


def follow_pitches(
    sureness: _Values, salience: _Values, pitches_hz: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], _Values]:
    """The leading voice's pitch (Hz) and how likely it is right (0..1), [frames] each, from CREPE's sureness and
    the salience, [frames, pitches] both."""
    alone = _aloneness(sureness)
    octaves = np.log2(pitches_hz / pitches_hz[0])
    salient = np.log(salience + np.float32(_SALIENCE_FLOOR))
    too_low = _BASS_FALL * np.maximum(0, np.log2(_BASS_HZ / pitches_hz))
    among_others = _SALIENCE_GAIN * (salient + _RISE * octaves) - too_low
    by_itself = np.log(sureness + np.float32(_SURENESS_FLOOR)) + _HELP * salient
    scores = (1 - alone) * among_others + alone * by_itself
    steps = -_FALL * np.abs(np.arange(-_MOST_STEP_BINS, _MOST_STEP_BINS + 1)).astype(np.float32)
    path = likeliest_path(scores.astype(np.float32), steps, _LEAP)
    here = np.arange(len(path))
    sure = sureness[here, path]
    base, of_salience, of_sureness = _RIGHT
    odds = base + of_salience * np.log(salience[here, path] + _RIGHT_FLOOR) + of_sureness * sure
    is_right = (1 - alone) / (1 + np.exp(-odds)) + alone * sure
    is_silent = sureness.max(axis=1) == 0
    evidence = sureness if alone > 0.5 else np.square(salience)
    confidence = np.where(is_silent, 0, np.clip(is_right, 0, 1)).astype(np.float32)
    return _between(evidence, path, pitches_hz), confidence


def _aloneness(sureness: _Values) -> float:
    """0 for a voice among others, 1 for one that sounds alone."""
    most = sureness.max(axis=1)
    heard = most[most > 0]
    share = float((heard > _SURE).mean()) if len(heard) else 0.0
    return float(np.clip((share - _ACCOMPANIED) / (_ALONE - _ACCOMPANIED), 0, 1))


def _between(
    evidence: _Values, path: _Numbers, pitches_hz: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Between the pitches: the mean of those around each, as strong as they are."""
    around = np.clip(path[:, None] + np.arange(-4, 5), 0, len(pitches_hz) - 1)
    weights = np.take_along_axis(evidence, around, axis=1).astype(np.float64) + 1e-9
    octaves = (weights * np.log2(pitches_hz)[around]).sum(axis=1) / weights.sum(axis=1)
    frequencies_hz: npt.NDArray[np.float64] = np.exp2(octaves)
    return frequencies_hz


def _lasting(voiced: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Without the stretches that are too short for a note."""
    edges = np.flatnonzero(np.diff(voiced.astype(np.int8), prepend=0, append=0))
    lasting = voiced.copy()
    for start, end in edges.reshape(-1, 2):
        lasting[start:end] = end - start >= _SHORTEST_FRAMES
    return lasting
