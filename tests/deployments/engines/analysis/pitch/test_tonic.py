from __future__ import annotations

import numpy as np
import pytest

from deployments.audio.samples import Samples
from deployments.engines.analysis.pitch.chroma import find_peaks
from deployments.engines.analysis.pitch.key import analyse_key
from deployments.engines.analysis.pitch.tonic import ROWS, tonic_evidence
from deployments.engines.analysis.rhythm.estimate import analyse_rhythm
from tests.deployments.engines.analysis.sounds import MAJOR, MINOR, tone

NATURAL_MINOR = ((0, MINOR), (8, MAJOR), (3, MAJOR), (10, MAJOR))
MAJOR_LOOP = ((0, MAJOR), (7, MAJOR), (9, MINOR), (5, MAJOR))


def loop(tonic: int, chords: tuple[tuple[int, tuple[int, ...]], ...], turns: int = 3) -> Samples:
    """A bar of two seconds for each chord, struck on every beat, the bass on the roots."""
    beats = []
    for root, chord in chords * turns:
        low = 36 + (tonic + root) % 12
        notes = [low, *(60 + (tonic + root + step) % 12 for step in chord)]
        beats += [sum(tone(note, 0.5) for note in notes)] * 4
    return np.concatenate(beats).astype(np.float32)


@pytest.mark.parametrize("tonic", range(0, 12, 3))
def test_a_loop_in_natural_minor_is_not_named_as_its_relative_major(tonic: int) -> None:
    found = analyse_key(loop(tonic, NATURAL_MINOR))
    assert found.name is not None
    assert found.name.endswith("minor")
    assert found.name == analyse_key(loop(tonic, NATURAL_MINOR, turns=2)).name


@pytest.mark.parametrize("tonic", range(1, 12, 4))
def test_a_loop_in_major_that_has_the_same_kind_of_chords_stays_major(tonic: int) -> None:
    found = analyse_key(loop(tonic, MAJOR_LOOP))
    assert found.name is not None
    assert found.name.endswith("major")


def test_each_row_is_of_shares_and_the_roots_are_where_they_sound() -> None:
    clip = loop(9, NATURAL_MINOR)
    evidence, changes = tonic_evidence(find_peaks(clip), 0.0, analyse_rhythm(clip))
    assert evidence.shape == (len(ROWS), 12)
    assert (evidence >= 0).all()
    rows = dict(zip(ROWS, evidence, strict=True))
    assert rows["treble"].sum() == pytest.approx(1.0)
    assert rows["opening, minor triad"].argmax() == 9
    assert rows["ending, major triad"].argmax() == 7
    assert rows["opening, bass"].argmax() == 9
    assert changes.sum() == pytest.approx(1.0)
    # A to F, F to C, C to G, and back.
    for before, after in ((9, 5), (5, 0), (0, 7), (7, 9)):
        assert changes[before, after] > 0.08


def test_silence_has_no_evidence() -> None:
    clip = np.zeros(22_050, np.float32)
    evidence, changes = tonic_evidence(find_peaks(clip), 0.0, analyse_rhythm(clip))
    assert not evidence.any()
    assert not changes.any()
