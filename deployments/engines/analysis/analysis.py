"""What is known of a clip once it has been listened to. Times are seconds from the clip's beginning.

Nothing is invented: where a clip does not tell (silence, noise, a single click), a value is None or its
confidence is low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployments.engines.common.describe import plain

DIGITS = 4
"""Of what is stored: more mean nothing."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """`bpm` is None where no tempo can be told, and `beats_s` empty then. `confidence` 0..1.

    `alternative_bpm` is the tempo that a listener would most likely say instead (the half, the double, 3:2).
    `is_steady`: one tempo holds from beginning to end. `meter` is beats in a bar, None where no bar can be
    told.
    """

    bpm: float | None
    confidence: float
    alternative_bpm: float | None
    is_steady: bool
    beats_s: tuple[float, ...]
    downbeats_s: tuple[float, ...]
    meter: int | None


@dataclass(frozen=True, slots=True)
class Key:
    """`name` as "F# minor" (tonics C, C#, D, Eb, E, F, F#, G, Ab, A, Bb, B), None where there is none.

    `camelot` is its place on the Camelot wheel ("11A"). `tuning_cents` (-50..50) is how far the clip is off A
    = 440 Hz; None where no pitches can be told. `alternative` is the second likeliest name. Confidence 0..1.
    """

    name: str | None
    confidence: float
    camelot: str | None
    alternative: str | None
    tuning_cents: float | None


@dataclass(frozen=True, slots=True)
class EnergyCurve:
    """`values` 0..1, one for each `hop_s`, the first at the clip's beginning."""

    hop_s: float
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Level:
    """`integrated_lufs` is None for silence and clips under 400 ms; `true_peak_dbtp` is not under -120."""

    integrated_lufs: float | None
    true_peak_dbtp: float


@dataclass(frozen=True, slots=True)
class Emotion:
    """`valence` and `arousal` -1..1 (Russell's circumplex); `label` is one word for them. `method` says who
    spoke (`clap` or `adapter`). All but `confidence` and `method` are None where there is nothing to hear."""

    valence: float | None
    arousal: float | None
    label: str | None
    confidence: float
    method: str


@dataclass(frozen=True, slots=True)
class Style:
    """`id` is one of `styles.STYLES`, None where there is nothing to hear; `scores` (they add up to 1) has
    them all."""

    id: str | None
    name: str | None
    scores: Mapping[str, float]
    method: str


@dataclass(frozen=True, slots=True)
class Melody:
    """The pitch of the leading voice, one value for each `hop_s`: `f0_hz` None where unvoiced, `confidence`
    0..1.

    It covers the clip's first `covered_s` seconds.
    """

    hop_s: float
    f0_hz: tuple[float | None, ...]
    confidence: tuple[float, ...]
    covered_s: float
    method: str


@dataclass(frozen=True, slots=True)
class Section:
    """Sections with equal labels ("A", "B", ...) sound alike."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """`melody` is None where it was not asked for; `sections` is empty for clips too short to have any.
    `prompt` is what a user of MusicGen would write to get such a clip."""

    duration_s: float
    rhythm: Rhythm
    key: Key
    energy: EnergyCurve
    level: Level
    emotion: Emotion
    style: Style
    melody: Melody | None
    sections: tuple[Section, ...]
    prompt: str

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict, as it is stored."""
        record: dict[str, Any] = plain(self, digits=DIGITS)
        return record
