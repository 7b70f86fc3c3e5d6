"""The scripts that make the adapter and the judge of keys, without FluidSynth."""

from __future__ import annotations

import numpy as np
import pytest

from deployments.engines.analysis.mood.styles import STYLE_IDS
from deployments.engines.analysis.pitch.key import moved_evidence
from deployments.engines.analysis.pitch.keys import ALL_KEYS
from deployments.engines.analysis.pitch.tonic import ROWS
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


def test_a_judge_of_keys_finds_those_that_it_was_made_from() -> None:
    rng = np.random.default_rng(6)
    moved, truth = [], []
    for index, key in enumerate(ALL_KEYS * 4):
        evidence = np.tile(np.roll(train_key.EDMA[key.mode], key.tonic), (len(ROWS), 1))
        evidence *= rng.uniform(0.7, 1.3, evidence.shape)
        changes = np.zeros((12, 12))
        changes[(key.tonic + 7) % 12, key.tonic] = 1.0
        moved.append(moved_evidence(evidence, changes))
        truth.append(index % len(ALL_KEYS))
    habits = np.array(["one", "other"])[np.arange(len(truth)) // len(ALL_KEYS) % 2]
    record = train_key.fit(train_key.Cases(np.array(moved), np.array(truth), habits))
    assert record["figures"]["MIREX-weighted, of composers that were left out"] > 0.95
    assert set(record["figures"]) > {"left out: one", "left out: other"}
    weights = record["weights"]["major"]
    assert weights["treble"][0] > 0 > weights["treble"][1]
    assert weights["changes"][7][0] == max(max(row) for row in weights["changes"])
