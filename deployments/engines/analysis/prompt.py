"""An analysis as a user of MusicGen would write it: "upbeat funk, driving drums and bass, 112 bpm, F#
minor"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployments.engines.analysis.analysis import Emotion, EnergyCurve, Key, Rhythm, Style
from deployments.engines.analysis.mood.styles import find_style
from deployments.engines.analysis.pitch.keys import parse_key

MIN_CONFIDENCE = 0.2
"""Tempo and key are left out where they are less sure than this: a wrong one is worse than none."""

LONGEST_TEXT = 300
"""Characters of an override that are used. MusicGen's text encoder reads 64 tokens or so with any effect."""

_MOODS = {
    "happy": "cheerful",
    "excited": "upbeat",
    "tense": "tense",
    "angry": "aggressive",
    "sad": "sad",
    "melancholic": "melancholic",
    "calm": "calm",
    "content": "warm",
    "neutral": "",
}
_LOUD, _RISE = 0.75, 0.12
"""On the energy curve: what is intense, and what a clip has gained (or lost) by its end to be building (or
fading)."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a user wants instead of what was heard; None leaves it. `mood` and `style` are free words. `text`
    goes first, as it is."""

    bpm: float | None = None
    key: str | None = None
    mood: str | None = None
    style: str | None = None
    text: str | None = None


def write_prompt(
    *,
    rhythm: Rhythm,
    key: Key,
    energy: EnergyCurve,
    emotion: Emotion,
    style: Style,
    overrides: Overrides | None = None,
) -> str:
    """One line, never empty: mood and style, their sound, how the energy goes, tempo, key.

    What could not be told is left out.
    """
    wanted = overrides or Overrides()
    mood = _line(wanted.mood) or (_MOODS.get(emotion.label, emotion.label) if emotion.label else "")
    known = find_style(wanted.style or style.id or "")
    name = known.name.lower() if known else _line(wanted.style)
    parts = [
        _line(wanted.text),
        " ".join(word for word in (mood, name or "music") if word),
        known.sound if known else "",
        _course(energy),
        _tempo(rhythm, wanted.bpm),
        _key(key, wanted.key),
    ]
    return ", ".join(part for part in parts if part)


def _tempo(rhythm: Rhythm, wanted_bpm: float | None) -> str:
    bpm = wanted_bpm
    if bpm is None and rhythm.confidence >= MIN_CONFIDENCE:
        bpm = rhythm.bpm
    return f"{round(bpm)} bpm" if bpm is not None else ""


def _key(key: Key, wanted: str | None) -> str:
    if wanted is not None:
        parsed = parse_key(wanted)
        return str(parsed) if parsed else _line(wanted)
    return key.name if key.name is not None and key.confidence >= MIN_CONFIDENCE else ""


def _course(energy: EnergyCurve) -> str:
    values = _sounding(energy.values)
    third = len(values) // 3
    if third < 10:
        return ""
    first, last = sum(values[:third]) / third, sum(values[-third:]) / third
    if last - first >= _RISE:
        return "building up"
    if first - last >= _RISE:
        return "fading away"
    return "full and intense" if sum(values) / len(values) >= _LOUD else ""


def _sounding(values: Sequence[float]) -> Sequence[float]:
    """Without the silence before and after: music does not build up from that."""
    loud = [index for index, value in enumerate(values) if value > 0.0]
    return values[loud[0] : loud[-1] + 1] if loud else ()


def _line(text: str | None) -> str:
    """A user's words on one line, without commas at their ends."""
    return " ".join((text or "").split())[:LONGEST_TEXT].strip(" ,")
