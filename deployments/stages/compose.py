"""Compose from an analysis: what is heard becomes the words of a prompt, and what came of them is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployments.engines.analysis.adherence import Target
from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.prompt import MIN_CONFIDENCE, Overrides, write_prompt

SOURCE_S = 30.0
"""How much of a line's end is listened to."""

WISHES = ("bpm", "key", "mood", "style")
"""What a request may say itself; the prompt's own text is the fifth."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What a generator is told, and what its answer is measured by."""

    prompt: str
    target: Target


def brief_of(heard: Analysis, text: str, wishes: Mapping[str, Any]) -> Brief:
    """What was heard, with what the request wants instead. A tempo or key that was heard uncertainly is no
    target, as it is no word of the prompt."""
    overrides = Overrides(text=text or None, **{name: wishes.get(name) for name in WISHES})
    prompt = write_prompt(
        rhythm=heard.rhythm,
        key=heard.key,
        energy=heard.energy,
        emotion=heard.emotion,
        style=heard.style,
        overrides=overrides,
    )
    bpm, key = overrides.bpm, overrides.key
    if bpm is None and heard.rhythm.bpm is not None and heard.rhythm.confidence >= MIN_CONFIDENCE:
        bpm = float(round(heard.rhythm.bpm))
    if key is None and heard.key.confidence >= MIN_CONFIDENCE:
        key = heard.key.name
    return Brief(prompt, Target(bpm, key))


def worded(text: str, bpm: float | None, key: str | None) -> str:
    """A prompt with its wishes in words: `calm piano, 96 bpm, A minor`."""
    words = [" ".join(text.split()), f"{bpm:g} bpm" if bpm is not None else "", key or ""]
    return ", ".join(word for word in words if word)
