"""Segue's own critic: a small linear model over signal features.

`adapter.json` beside this module holds it: `python -m training.analysis.adapter` made it, from music that the
script writes itself, and `figures` in it says how well it did on pieces that it had not heard. It is a
stand-in for a model that has heard the world's music: what it says of styles that it never heard is a guess,
and its confidence says so only in part.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deployments.engines.analysis.clip import Clip
from deployments.engines.analysis.mood.critic import Evidence, Impression, no_impression
from deployments.engines.analysis.mood.emotion import emotion_at
from deployments.engines.analysis.mood.features import describe
from deployments.engines.analysis.mood.styles import STYLE_IDS, chosen_style

FILE = Path(__file__).with_name("adapter.json")
METHOD = "adapter"

_FARTHEST = 3.0
"""Features count no further than so many standard deviations from what is usual."""

_Values = npt.NDArray[np.float64]


class AdapterCritic:
    """Satisfies `Critic`."""

    @property
    def method(self) -> str:
        return METHOD

    @property
    def weights_sha256(self) -> str:
        return hashlib.sha256(FILE.read_bytes()).hexdigest()

    def judge(self, clip: Clip, evidence: Evidence) -> Impression:
        if evidence.is_silent:
            return no_impression(METHOD)
        features = describe(evidence.rhythm, evidence.key, evidence.timbre, evidence.peaks)
        model = _model()
        place, unusual = model.placed(features)
        scores = _softmax(model.style_weights @ place + model.style_biases)
        valence, arousal = (math.tanh(value) for value in model.mood_weights @ place + model.mood_biases)
        # A clip unlike all that was learned from is judged with less confidence.
        trust = 1.0 / (1.0 + max(0.0, unusual - 1.0) ** 2)
        entropy = -sum(score * math.log(score + 1e-12) for score in scores) / math.log(len(scores))
        confidence = trust * (0.5 * (1.0 - entropy) + 0.5 * min(1.0, math.hypot(valence, arousal)))
        return Impression(
            emotion_at(valence, arousal, confidence, METHOD),
            chosen_style(dict(zip(STYLE_IDS, scores, strict=True)), METHOD),
        )


class _Model:
    def __init__(self, record: dict[str, Any]) -> None:
        self._names: list[str] = record["features"]
        self._means = np.array(record["means"])
        self._deviations = np.array(record["deviations"])
        self.style_weights = np.array([record["styles"][style]["weights"] for style in STYLE_IDS])
        self.style_biases = np.array([record["styles"][style]["bias"] for style in STYLE_IDS])
        moods = [record["moods"][mood] for mood in ("valence", "arousal")]
        self.mood_weights = np.array([mood["weights"] for mood in moods])
        self.mood_biases = np.array([mood["bias"] for mood in moods])

    def placed(self, features: dict[str, float]) -> tuple[_Values, float]:
        """Standardised, and the root of their mean square, which is 1 for what is usual."""
        values = np.array([features[name] for name in self._names])
        place = np.clip((values - self._means) / self._deviations, -_FARTHEST, _FARTHEST)
        return place, float(np.sqrt(np.square(place).mean()))


@cache
def _model() -> _Model:
    return _Model(json.loads(FILE.read_text()))


def _softmax(values: _Values) -> list[float]:
    powers = np.exp(values - values.max())
    shares: list[float] = (powers / powers.sum()).tolist()
    return shares
