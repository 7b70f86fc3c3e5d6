"""Words for places on Russell's circumplex (J. A. Russell, "A circumplex model of affect", 1980)."""

from __future__ import annotations

import math

from deployments.engines.analysis.analysis import Emotion

LABELS = {
    "happy": (0.6, 0.35),
    "excited": (0.45, 0.75),
    "tense": (-0.45, 0.55),
    "angry": (-0.6, 0.8),
    "sad": (-0.6, -0.35),
    "melancholic": (-0.3, -0.6),
    "calm": (0.3, -0.6),
    "content": (0.6, -0.25),
    "neutral": (0.0, 0.0),
}
"""A label's valence and arousal."""


def label_of(valence: float, arousal: float) -> str:
    """The nearest of `LABELS`."""
    return min(LABELS, key=lambda label: math.dist(LABELS[label], (valence, arousal)))


def emotion_at(valence: float, arousal: float, confidence: float, method: str) -> Emotion:
    """The record for a place, brought into -1..1, and a confidence, brought into 0..1."""
    valence, arousal = (min(1.0, max(-1.0, value)) for value in (valence, arousal))
    return Emotion(valence, arousal, label_of(valence, arousal), min(1.0, max(0.0, confidence)), method)
