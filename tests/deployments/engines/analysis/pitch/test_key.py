from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.engines.analysis.pitch.chroma import find_peaks, tuning_of
from deployments.engines.analysis.pitch.key import NO_KEY, analyse_key
from deployments.engines.analysis.pitch.keys import ALL_KEYS, TONICS, parse_key
from tests.deployments.engines.analysis.sounds import babble, cadence, click, drums, noise, time_s


@pytest.mark.parametrize("key", ALL_KEYS[::3] + ALL_KEYS[1::7], ids=str)
def test_a_cadence_is_in_its_key(key) -> None:
    found = analyse_key(cadence(key.tonic, key.mode))
    assert found.name == str(key)
    assert found.camelot == key.camelot
    assert found.confidence > 0.5
    assert found.alternative not in (None, found.name)
    assert found.tuning_cents == pytest.approx(0.0, abs=3.0)


@pytest.mark.parametrize("cents", [-40.0, -20.0, 15.0, 35.0])
def test_a_clip_out_of_tune_is_in_the_same_key(cents: float) -> None:
    found = analyse_key(cadence(2, "minor", cents=cents))
    assert found.name == "D minor"
    assert found.tuning_cents == pytest.approx(cents, abs=4.0)


@settings(max_examples=8)
@given(gain=st.floats(0.003, 8.0), seed=st.integers(0, 100))
def test_how_loud_it_is_played_changes_nothing_nor_does_noise_under_it(gain: float, seed: int) -> None:
    clip = cadence(9, "minor", bars=4)
    found = analyse_key((gain * (clip + noise(4.0, 0.003, seed))).astype(np.float32))
    assert found.name == "A minor"


@pytest.mark.parametrize(
    "clip",
    [
        np.zeros(22_050, np.float32),
        np.zeros(1, np.float32),
        np.full(44_100, 0.5, np.float32),
        noise(5.0),
        noise(0.2),
        click(),
        drums(6.0),
        babble(6.0),
    ],
    ids=["silence", "one sample", "dc", "noise", "short noise", "click", "drums", "speech"],
)
def test_what_has_no_key_gets_none(clip) -> None:
    assert analyse_key(clip) == NO_KEY


def test_one_tone_is_no_key_but_has_a_tuning() -> None:
    found = analyse_key((0.3 * np.sin(2 * np.pi * 445.0 * time_s(3.0))).astype(np.float32))
    assert found.name is None
    assert found.confidence == 0.0
    assert found.tuning_cents == pytest.approx(1200 * np.log2(445 / 440), abs=2.0)


def test_tuning_is_read_from_where_the_pitches_are() -> None:
    cents, agreement = tuning_of(find_peaks(cadence(4, "major", cents=22.0)))
    assert cents == pytest.approx(22.0, abs=3.0)
    assert agreement > 0.7


def test_the_camelot_wheel_has_a_place_for_every_key() -> None:
    assert len({key.camelot for key in ALL_KEYS}) == 24
    places = {str(key): key.camelot for key in ALL_KEYS}
    assert [places[name] for name in ("C major", "A minor", "F# minor", "E major", "B major")] == [
        "8B", "8A", "11A", "12B", "1B",
    ]  # fmt: skip


@pytest.mark.parametrize("key", ALL_KEYS, ids=str)
def test_relatives_share_a_number_and_fifths_are_neighbours(key) -> None:
    assert key.relative.relative == key
    assert key.relative.camelot[:-1] == key.camelot[:-1]
    fifth = next(
        other for other in ALL_KEYS if other.mode == key.mode and other.tonic == (key.tonic + 7) % 12
    )
    assert int(fifth.camelot[:-1]) % 12 == (int(key.camelot[:-1]) + 1) % 12


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("F# minor", "F# minor"),
        ("gbm", "F# minor"),
        ("c", "C major"),
        ("D♯ maj", "Eb major"),
        ("A-flat major", None),
        ("Bb", "Bb major"),
        ("b minor", "B minor"),
        ("Am", "A minor"),
        ("H major", None),
        ("C dorian", None),
        ("", None),
    ],
)
def test_keys_are_read_as_people_write_them(text: str, name: str | None) -> None:
    key = parse_key(text)
    assert (str(key) if key else None) == name


def test_every_name_is_read_back() -> None:
    assert [parse_key(str(key)) for key in ALL_KEYS] == list(ALL_KEYS)
    assert {TONICS[key.tonic] for key in ALL_KEYS} == set(TONICS)
