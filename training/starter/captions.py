"""What a musician would type for a song: some of what is true of it, in the words of the day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deployments.engines.analysis.mood.styles import STYLES as FAMILIES
from training.starter.composer.styles import INSTRUMENTS, STYLES

MOODS = {
    "bright": ("happy", "cheerful", "upbeat", "warm", "bright", "joyful", "excited", "energetic"),
    "calm": ("calm", "warm", "gentle", "peaceful", "soft", "dreamy", "relaxed", "chill"),
    "dark": ("dark", "tense", "aggressive", "intense", "driving", "moody", "energetic"),
    "sad": ("sad", "melancholic", "moody", "dreamy", "calm", "soft", "lonely"),
}
SPEEDS = {"slow": ("slow", "slow tempo"), "medium": ("mid-tempo", ""), "fast": ("fast", "uptempo", "quick")}
COURSES = ("building up", "fading away", "full and intense")
OTHER_WORDS = (
    "music",
    "with",
    "and",
    "in",
    "a",
    "the",
    "of",
    "bpm",
    "BPM",
    "at",
    "drums",
    "no drums",
    "bass",
    "key",
)
OTHER_NAMES = {"C#": "Db", "Eb": "D#", "F#": "Gb", "Ab": "G#", "Bb": "A#"}

_SOUNDS = {family.id: family.sound for family in FAMILIES}


def caption(truth: Mapping[str, Any], rng: np.random.Generator) -> str:
    """One line; "" for a song of which nothing is known, and its own words where somebody wrote them."""
    if not truth or "caption" in truth:
        return str(truth.get("caption", ""))
    style = next(style for style in STYLES if style.id == truth["style"])
    name = str(rng.choice(style.words))
    if rng.random() < 0.25:
        name = style.family
    mood = str(rng.choice(MOODS[_mood(truth)])) if rng.random() < 0.5 else ""
    speed = str(rng.choice(SPEEDS[_speed(truth)])) if rng.random() < 0.3 else ""
    first = " ".join(word for word in (speed, mood, name) if word)
    if rng.random() < 0.15:
        first += " music"
    parts = [first]
    draw = rng.random()
    if draw < 0.3:
        parts.append(_SOUNDS[style.family])
    elif draw < 0.75:
        parts += _instruments(truth, rng)
    if rng.random() < 0.1:
        parts.append(COURSES[2])
    if rng.random() < 0.7:
        parts.append(_tempo(truth, rng))
    if rng.random() < 0.6:
        parts.append(_key(truth, rng))
    if rng.random() < 0.2:
        rest = parts[1:]
        rng.shuffle(rest)
        parts = [parts[0], *rest]
    if rng.random() < 0.05:
        parts = parts[1:] or parts
    line = (" " if rng.random() < 0.1 else ", ").join(part for part in parts if part)
    return line.lower() if rng.random() < 0.05 else line


def vocabulary() -> list[str]:
    """Every word that a caption can have, without its punctuation, and the numbers and keys of music."""
    phrases = [
        *(word for style in STYLES for word in style.words),
        *(family.sound for family in FAMILIES),
        *(family.id for family in FAMILIES),
        *(family.described for family in FAMILIES),
        *INSTRUMENTS.values(),
        *(mood for moods in MOODS.values() for mood in moods),
        *(speed for speeds in SPEEDS.values() for speed in speeds),
        *COURSES,
        *OTHER_WORDS,
        "song beat loop melody guitar synth violin vocal vocals hip hop lofi pop soul metal house",
        "epic cinematic groovy",
    ]
    words = {word.strip(",") for phrase in phrases for word in phrase.split()}
    keys = {*"CDEFGAB", *OTHER_NAMES, *OTHER_NAMES.values(), "major", "minor"}
    numbers = {str(number) for number in range(40, 221)}
    return sorted(words | keys | numbers)


def _instruments(truth: Mapping[str, Any], rng: np.random.Generator) -> list[str]:
    names = sorted(set(truth["instruments"].values()))
    chosen = [str(name) for name in rng.permutation(names)[: int(rng.integers(1, 4))]]
    if rng.random() < 0.3 and len(chosen) > 1:
        return [f"{chosen[0]} and {chosen[1]}", *chosen[2:]]
    if rng.random() < 0.2:
        chosen[0] = f"with {chosen[0]}"
    return chosen


def _tempo(truth: Mapping[str, Any], rng: np.random.Generator) -> str:
    number = str(round(truth["bpm"]))
    return f"{number} {'BPM' if rng.random() < 0.1 else 'bpm'}"


def _key(truth: Mapping[str, Any], rng: np.random.Generator) -> str:
    tonic, mode = truth["key"].split()
    if tonic in OTHER_NAMES and rng.random() < 0.3:
        tonic = OTHER_NAMES[tonic]
    return f"{'in ' if rng.random() < 0.2 else ''}{tonic} {mode}"


def _mood(truth: Mapping[str, Any]) -> str:
    is_quick = truth["bpm"] * (0.5 + truth["velocity"]) > 130
    if truth["key"].endswith("major"):
        return "bright" if is_quick else "calm"
    return "dark" if is_quick else "sad"


def _speed(truth: Mapping[str, Any]) -> str:
    return "slow" if truth["bpm"] < 88 else "fast" if truth["bpm"] > 132 else "medium"
