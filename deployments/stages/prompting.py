"""The prompt of a generator: the analysis and the request in words; and what its answer is measured by."""

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
    """The prompt, and what the answer is measured by."""

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


def worded(text: str, wishes: Mapping[str, Any]) -> Brief:
    """A prompt with its wishes in words: `piano, calm jazz, 96 bpm, A minor`."""
    bpm, key = wishes.get("bpm"), wishes.get("key")
    character = " ".join(str(wishes[name]) for name in ("mood", "style") if wishes.get(name))
    words = [text, character, f"{bpm:g} bpm" if bpm is not None else "", key or ""]
    told = ", ".join(line for word in words if (line := " ".join(word.split())))
    return Brief(told, Target(bpm, key))
