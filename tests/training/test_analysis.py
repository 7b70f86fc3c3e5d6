"""The scripts that make the adapter and the key profiles, without FluidSynth."""

from __future__ import annotations

import numpy as np
import pytest

from deployments.engines.analysis.mood.styles import STYLE_IDS
from deployments.engines.analysis.pitch.keys import ALL_KEYS
from training.analysis import adapter as train_adapter
from training.analysis import key as train_key
from training.corpus.style_music import CLIP_S, as_recorded, mood_of, style_piece


@pytest.mark.parametrize("style", STYLE_IDS)
def test_there_is_music_of_every_style_the_same_for_a_seed(style: str) -> None:
    pieces = [style_piece(seed, style) for seed in (1, 1, 2)]
    assert pieces[0] == pieces[1] != pieces[2]
    assert pieces[0].plan.duration_s == CLIP_S
    assert all(voice.notes for voice in pieces[0].voices)
    mood = mood_of(pieces[0])
    assert -1 < mood.valence < 1
    assert -1 < mood.arousal < 1


def test_moods_go_with_mode_and_tempo() -> None:
    pieces = [style_piece(seed, style) for seed in range(20) for style in STYLE_IDS]
    moods = [mood_of(piece) for piece in pieces]
    major = np.array([piece.plan.key.is_major for piece in pieces])
    valence = np.array([mood.valence for mood in moods])
    assert valence[major].mean() > valence[~major].mean() + 0.5
    arousal = np.array([mood.arousal for mood in moods])
    assert np.corrcoef(arousal, [piece.plan.bpm for piece in pieces])[0, 1] > 0.5


def test_recordings_are_finite_and_within_full_scale() -> None:
    samples = np.sin(np.arange(44_100) / 20).astype(np.float32)
    for seed in range(6):
        recorded = as_recorded(samples, seed)
        assert recorded.shape == samples.shape
        assert np.abs(recorded).max() < 1.1


def test_an_adapter_learns_what_can_be_learned() -> None:
    rng = np.random.default_rng(5)
    styles = np.tile(np.arange(len(STYLE_IDS)), 12)
    places = rng.standard_normal((len(styles), 10))
    places[:, 0] += 4.0 * np.cos(styles)
    places[:, 1] += 4.0 * np.sin(styles)
    moods = np.tanh(0.3 * places[:, 2:4])
    heard = train_adapter.Heard(tuple("abcdefghij"), places, styles, moods)
    record = train_adapter.fit(heard)
    figures = train_adapter.judge(record, heard, heard)
    assert figures["held out: style accuracy"] > 0.7
    assert figures["held out: valence r2"] > 0.9
    assert list(record["styles"]) == list(STYLE_IDS)


def test_key_profiles_find_the_keys_that_they_were_made_from() -> None:
    rng = np.random.default_rng(6)
    rows, names = [], []
    for key in ALL_KEYS * 5:
        shares = np.tile(np.roll(train_key.EDMA[key.mode], key.tonic), (2, 1))
        rows.append((shares * rng.uniform(0.7, 1.3, (2, 12))).ravel())
        names.append(str(key))
    record = train_key.fit(np.array(rows), names)
    assert record["figures"]["cross-validated: MIREX-weighted"] > 0.95
    assert record["profiles"]["major"]["treble"][0] > 0 > record["profiles"]["major"]["treble"][1]
