"""The measures of the starter's benchmark, on what is known beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.starter import continuation, language, separation
from benchmarks.starter.songs import Song

pytestmark = pytest.mark.torch


def test_counting_needs_the_bits_that_there_are() -> None:
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 16, (2, 4000)) for _ in range(3)]
    cycle = [np.tile(np.arange(16), (2, 250)) for _ in range(3)]
    for bigram in (False, True):
        assert language._counted(noise, 16, bigram=bigram) == pytest.approx([4.0, 4.0], abs=0.05)
    assert language._counted(cycle, 16, bigram=False) == pytest.approx([4.0, 4.0], abs=0.05)
    assert (language._counted(cycle, 16, bigram=True) < 0.5).all()


def test_what_is_known_of_a_song_alone_does_not_help_with_it() -> None:
    """A token that is in one song only is not counted for that song."""
    songs = [np.full((1, 500), number) for number in range(3)]
    assert language._counted(songs, 16, bigram=True)[0] > 6


def test_a_tenth_of_error_is_20_db() -> None:
    rng = np.random.default_rng(2)
    truth = rng.standard_normal((2, 1000)).astype(np.float32)
    assert separation.sdr_db(truth, 1.1 * truth) == pytest.approx(20, abs=1e-3)
    assert separation.sdr_db(truth, 0 * truth) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("late_s", "is_in_phase"), [(0.0, True), (0.05, True), (-0.05, True), (0.25, False)])
def test_beats_are_in_phase_with_the_songs_own(late_s: float, is_in_phase: bool) -> None:
    beats_s = 0.21 + 0.5 * np.arange(120)
    song = Song(Path("000001.npy"), {"beats_s": beats_s.tolist()})
    grid_s = beats_s - (continuation.START_S + continuation.CLIP_S)
    heard_s = grid_s[(grid_s > 0.3) & (grid_s < 9)] + late_s
    assert continuation._is_in_phase(song, heard_s.tolist()) is is_in_phase
    assert not continuation._is_in_phase(song, [])
