"""How well a clip keeps to the tempo and the key that were asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from deployments.engines.analysis.analysis import DIGITS, Analysis
from deployments.engines.analysis.pitch.keys import KeyName, parse_key
from deployments.engines.common.describe import plain

EXACT, WORTHLESS = 0.01, 0.08
"""A tempo within 1 % is right; one that is 8 % off is another one."""

METRICAL_LEVELS = (2.0, 0.5, 3.0, 1 / 3)
METRICAL_SHARE = 0.5
"""A tempo heard twice, half or three times as fast fits the same grid, and is worth half."""

FIFTH, RELATIVE, PARALLEL = 0.5, 0.3, 0.2
"""What a near key is worth, as in MIREX's audio key detection."""


@dataclass(frozen=True, slots=True)
class Target:
    """What was asked for: beats per minute, and a key as `parse_key` reads it. None: no wish."""

    bpm: float | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Adherence:
    """Scores 0..1 of what was asked for; None where it was not. `score` is their mean, None without any."""

    score: float | None
    bpm_asked: float | None
    bpm_heard: float | None
    bpm_score: float | None
    key_asked: str | None
    key_heard: str | None
    key_score: float | None

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict with a key for each field."""
        record: dict[str, Any] = plain(self, digits=DIGITS)
        return record


def adherence(target: Target, heard: Analysis) -> Adherence:
    """Compare what was asked for with what came out."""
    bpm_score = None if target.bpm is None else tempo_score(target.bpm, heard.rhythm.bpm)
    key_score = None if target.key is None else key_score_of(target.key, heard.key.name)
    scores = [score for score in (bpm_score, key_score) if score is not None]
    return Adherence(
        score=round(sum(scores) / len(scores), 4) if scores else None,
        bpm_asked=target.bpm,
        bpm_heard=heard.rhythm.bpm,
        bpm_score=bpm_score,
        key_asked=target.key,
        key_heard=heard.key.name,
        key_score=key_score,
    )


def tempo_score(asked_bpm: float, heard_bpm: float | None) -> float:
    """1 within 1 %, falling to 0 at 8 %; half of that on another metrical level; 0 for no tempo at all."""
    if heard_bpm is None or heard_bpm <= 0:
        return 0.0
    other_levels = max(_nearness(asked_bpm * level, heard_bpm) for level in METRICAL_LEVELS)
    return round(max(_nearness(asked_bpm, heard_bpm), METRICAL_SHARE * other_levels), 4)


def key_score_of(asked: str, heard: str | None) -> float:
    """1 for the key itself, less for a near one, 0 for another and for none."""
    wanted, found = parse_key(asked), parse_key(heard or "")
    if wanted is None or found is None:
        return 0.0
    if wanted == found:
        return 1.0
    if wanted.mode == found.mode and (found.tonic - wanted.tonic) % 12 in (5, 7):
        return FIFTH
    if wanted.relative == found:
        return RELATIVE
    return PARALLEL if KeyName(wanted.tonic, found.mode) == found else 0.0


def _nearness(asked_bpm: float, heard_bpm: float) -> float:
    off = abs(math.log(heard_bpm / asked_bpm))
    return min(1.0, max(0.0, (WORTHLESS - off) / (WORTHLESS - EXACT)))
