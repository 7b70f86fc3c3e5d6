"""The composers with habits of their own, without FluidSynth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from training.corpus import other_generator
from training.corpus.habit_clips import HABIT_SEEDS, HABITS, OTHER_SEEDS
from training.corpus.harmony import TONICS
from training.corpus.midi import DRUM_CHANNEL

COMPOSERS = {**HABITS, "other": other_generator.compose}


@pytest.mark.parametrize("name", COMPOSERS)
def test_a_seed_is_a_song_and_another_seed_is_another(name: str) -> None:
    songs = [COMPOSERS[name](seed) for seed in (7, 7, 8)]
    assert songs[0] == songs[1] != songs[2]


@pytest.mark.parametrize("name", COMPOSERS)
def test_what_is_said_of_a_song_is_true_of_its_notes(name: str) -> None:
    for seed in range(20):
        song = COMPOSERS[name](seed)
        truth = song.truth
        assert 8 < song.duration_s < 60
        assert all(0 <= note.pitch < 128 for voice in song.voices for note in voice.notes)
        assert truth.beats_s[0] < 60 / truth.bpm + 0.1
        assert set(truth.downbeats_s) <= set(truth.beats_s)
        assert truth.bpm == pytest.approx(60 / np.median(np.diff(truth.beats_s)))
        tonic = TONICS.index(truth.key.split()[0])
        third = (tonic + (4 if truth.key.endswith("major") else 3)) % 12
        seconds = np.zeros(12)
        for voice, note in itertools.chain.from_iterable(
            ((voice, note) for note in voice.notes) for voice in song.voices
        ):
            if voice.channel != DRUM_CHANNEL:
                seconds[note.pitch % 12] += note.end_s - note.start_s
        assert seconds[tonic] > seconds[(tonic + 1) % 12]
        assert seconds[third] > 0


def test_all_keys_and_both_modes_come() -> None:
    for compose in COMPOSERS.values():
        keys = {compose(seed).truth.key for seed in range(60)}
        assert len({key.split()[0] for key in keys}) >= 10
        assert {key.split()[1] for key in keys} == {"major", "minor"}


def test_the_held_out_generator_shares_no_seeds_and_no_fonts() -> None:
    assert not set(HABIT_SEEDS) & set(OTHER_SEEDS)
    fonts = {compose(seed).font for compose in HABITS.values() for seed in range(30)}
    assert not fonts & set(other_generator.FONTS)
