"""Who says what a clip feels like and what style it is: a model behind a Protocol, asked after the rest is
known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from deployments.engines.analysis.analysis import Emotion, EnergyCurve, Key, Rhythm, Style
from deployments.engines.analysis.clip import Clip
from deployments.engines.analysis.mood.styles import STYLE_IDS
from deployments.engines.analysis.mood.timbre import Timbre
from deployments.engines.analysis.pitch.chroma import Peaks


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a clip before somebody judges it."""

    rhythm: Rhythm
    key: Key
    energy: EnergyCurve
    timbre: Timbre
    peaks: Peaks

    @property
    def is_silent(self) -> bool:
        """Nothing in it passes -60 dBFS."""
        return not any(value > 0.0 for value in self.energy.values)


@dataclass(frozen=True, slots=True)
class Impression:
    emotion: Emotion
    style: Style


class Critic(Protocol):
    """`method` is what the records say who spoke; `weights_sha256` is of all it has learned."""

    @property
    def method(self) -> str: ...

    @property
    def weights_sha256(self) -> str: ...

    def judge(self, clip: Clip, evidence: Evidence) -> Impression:
        """Blocks. Every number is finite, whatever the clip is."""
        ...


def no_impression(method: str) -> Impression:
    """Of a clip in which there is nothing to hear."""
    return Impression(
        Emotion(None, None, None, 0.0, method),
        Style(None, None, dict.fromkeys(STYLE_IDS, 1.0 / len(STYLE_IDS)), method),
    )
