"""The styles that a clip can have, and the words for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployments.engines.analysis.analysis import Style as StyleRecord


@dataclass(frozen=True, slots=True)
class Style:
    """`sound` is what one would write to get it from a text-to-music model, `described` what a model that
    knows language and sound is asked whether it hears it."""

    id: str
    name: str
    sound: str
    described: str


STYLES = (
    Style("ambient", "Ambient", "soft pads and slow textures", "ambient music with slow synthesizer pads"),
    Style("classical", "Classical", "strings and piano", "classical music played by an orchestra or a piano"),
    Style(
        "electronic",
        "Electronic",
        "synth bass and drum machine",
        "electronic dance music with a drum machine",
    ),
    Style("folk", "Folk", "acoustic guitar and warm melody", "folk music with acoustic guitar"),
    Style("funk", "Funk", "driving drums and bass", "funk music with a syncopated bass and rhythm guitar"),
    Style("hip-hop", "Hip-hop", "heavy beat and deep bass", "hip-hop with a heavy beat and deep bass"),
    Style(
        "jazz", "Jazz", "swinging drums, upright bass and piano", "jazz with upright bass and swinging drums"
    ),
    Style(
        "rock", "Rock", "electric guitars and loud drums", "rock music with electric guitars and loud drums"
    ),
)
"""By id, in the order of their ids."""

STYLE_IDS = tuple(style.id for style in STYLES)


def find_style(id_or_name: str) -> Style | None:
    """The style that is meant, however it is written ("hip hop", "Hip-Hop")."""
    wanted = _plain(id_or_name)
    return next((style for style in STYLES if wanted in (_plain(style.id), _plain(style.name))), None)


def chosen_style(scores: Mapping[str, float], method: str) -> StyleRecord:
    """The record for probabilities of all styles (they add up to 1)."""
    best = max(STYLES, key=lambda style: scores[style.id])
    return StyleRecord(best.id, best.name, {style.id: scores[style.id] for style in STYLES}, method)


def _plain(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())
