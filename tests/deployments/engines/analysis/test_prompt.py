from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.analysis.analysis import Emotion, EnergyCurve, Key, Rhythm, Style
from deployments.engines.analysis.mood.critic import no_impression
from deployments.engines.analysis.mood.emotion import LABELS, emotion_at, label_of
from deployments.engines.analysis.mood.styles import STYLE_IDS, STYLES, chosen_style, find_style
from deployments.engines.analysis.pitch.key import NO_KEY
from deployments.engines.analysis.prompt import Overrides, write_prompt

NO_RHYTHM = Rhythm(None, 0.0, None, False, (), (), None)
FLAT = EnergyCurve(0.1, (0.6,) * 60)


def parts(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "rhythm": Rhythm(111.7, 0.9, 55.9, True, (0.1,), (0.1,), 4),
        "key": Key("F# minor", 0.8, "11A", "A major", 3.0),
        "energy": FLAT,
        "emotion": Emotion(0.4, 0.7, "excited", 0.6, "adapter"),
        "style": Style("funk", "Funk", {}, "adapter"),
    }
    return {**known, **changes}


def test_it_is_what_a_user_would_write() -> None:
    assert write_prompt(**parts()) == "upbeat funk, driving drums and bass, 112 bpm, F# minor"


def test_what_is_not_sure_is_left_out() -> None:
    unsure = parts(
        rhythm=replace(parts()["rhythm"], confidence=0.1), key=replace(parts()["key"], confidence=0.1)
    )
    assert write_prompt(**unsure) == "upbeat funk, driving drums and bass"


def test_of_nothing_there_is_little_to_write() -> None:
    nothing = no_impression("adapter")
    found = write_prompt(
        rhythm=NO_RHYTHM, key=NO_KEY, energy=FLAT, emotion=nothing.emotion, style=nothing.style
    )
    assert found == "music"


@pytest.mark.parametrize(
    ("overrides", "prompt"),
    [
        (Overrides(bpm=90.4), "upbeat funk, driving drums and bass, 90 bpm, F# minor"),
        (Overrides(key="c maj"), "upbeat funk, driving drums and bass, 112 bpm, C major"),
        (Overrides(key="D dorian"), "upbeat funk, driving drums and bass, 112 bpm, D dorian"),
        (Overrides(mood="dreamy"), "dreamy funk, driving drums and bass, 112 bpm, F# minor"),
        (Overrides(style="Hip Hop"), "upbeat hip-hop, heavy beat and deep bass, 112 bpm, F# minor"),
        (Overrides(style="polka"), "upbeat polka, 112 bpm, F# minor"),
        (
            Overrides(text=" for a\n film, "),
            "for a film, upbeat funk, driving drums and bass, 112 bpm, F# minor",
        ),
    ],
    ids=str,
)
def test_overrides_take_the_place_of_what_was_heard(overrides: Overrides, prompt: str) -> None:
    assert write_prompt(**parts(), overrides=overrides) == prompt


def test_how_the_energy_goes_is_told() -> None:
    rising = EnergyCurve(0.1, tuple(0.3 + 0.005 * step for step in range(90)))
    assert "building up" in write_prompt(**parts(energy=rising))
    falling = EnergyCurve(0.1, rising.values[::-1])
    assert "fading away" in write_prompt(**parts(energy=falling))


@given(
    text=st.text(max_size=2_000),
    mood=st.text(max_size=50),
    style=st.text(max_size=50),
    key=st.text(max_size=20),
)
def test_it_is_one_line_whatever_a_user_writes(text: str, mood: str, style: str, key: str) -> None:
    prompt = write_prompt(**parts(), overrides=Overrides(text=text, mood=mood, style=style, key=key))
    assert prompt
    assert len(prompt.splitlines()) == 1
    assert len(prompt) < 1_300


def test_every_label_is_where_it_says() -> None:
    assert all(label_of(*place) == label for label, place in LABELS.items())


@given(valence=st.floats(-9, 9, allow_nan=False), arousal=st.floats(-9, 9), confidence=st.floats(-9, 9))
def test_emotions_stay_on_the_circumplex(valence: float, arousal: float, confidence: float) -> None:
    emotion = emotion_at(valence, arousal, confidence, "adapter")
    assert emotion.valence is not None
    assert emotion.arousal is not None
    assert -1 <= emotion.valence <= 1
    assert -1 <= emotion.arousal <= 1
    assert 0 <= emotion.confidence <= 1
    assert emotion.label in LABELS


def test_styles_are_found_however_they_are_written() -> None:
    assert [style.id for style in STYLES] == sorted(STYLE_IDS)
    assert [find_style(spelled) for spelled in ("hip hop", "HIP-HOP", "hiphop")] == [
        find_style("hip-hop")
    ] * 3
    assert find_style("polka") is None
    chosen = chosen_style({style: float(style == "jazz") for style in STYLE_IDS}, "clap")
    assert (chosen.id, chosen.name, chosen.method) == ("jazz", "Jazz", "clap")
