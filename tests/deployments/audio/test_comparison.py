"""Differences of audio are found where they were planted, and are about what was changed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.audio.comparison import bars, compare, windows
from deployments.audio.samples import Samples

RATE_HZ = 8_000


def tune(duration_s: float, transposed: float = 0.0, level: float = 0.3, late_s: float = 0.0) -> Samples:
    """A note each half second."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ - late_s
    notes = 220.0 * 2 ** ((np.floor(time_s * 2) % 5 + transposed) / 12)
    sound = level * np.sin(2 * np.pi * notes * time_s) * np.exp(-6 * (time_s * 2 % 1))
    return np.stack([sound, 0.5 * sound]).astype(np.float32)


@given(start_s=st.floats(0, 10), length_s=st.floats(0.3, 5), gain=st.sampled_from((0.0, 0.5, 1.1, -1.0)))
@settings(deadline=None, max_examples=40)
@pytest.mark.parametrize("edges_of", [windows, lambda duration_s: bars([0.4, 2.3, 4.2], duration_s)])
def test_planted_edits_are_found(edges_of: object, start_s: float, length_s: float, gain: float) -> None:
    line = 0.1 + tune(12.0)
    edited = line.copy()
    planted = round(start_s * RATE_HZ), min(line.shape[1], round((start_s + length_s) * RATE_HZ))
    edited[:, planted[0] : planted[1]] *= np.float32(gain)
    edges = [round(at_s * RATE_HZ) for at_s in edges_of(12.0)]  # type: ignore[operator]
    assert (edges[0], edges[-1]) == (0, line.shape[1])
    found = np.zeros(line.shape[1], bool)
    for start, end in pairwise(edges):
        difference = compare(line[:, start:end], edited[:, start:end], RATE_HZ)
        is_touched = start < planted[1] and planted[0] < end
        assert difference.is_same == (not is_touched)
        if difference.changed is not None:
            found[start + difference.changed[0] : start + difference.changed[1]] = True
    truth = np.zeros(line.shape[1], bool)
    truth[planted[0] : planted[1]] = True
    assert (found & truth).sum() / (found | truth).sum() >= 0.9


def test_distances_are_about_what_was_changed() -> None:
    line = tune(2.0)
    for other, name in (
        (tune(2.0, transposed=3), "chroma"),
        (tune(2.0, late_s=0.23), "onsets"),
        (tune(2.0, level=0.1), "loudness"),
    ):
        difference = compare(line, other, RATE_HZ)
        assert not difference.is_same
        assert (difference.chroma > 0.3) == (name == "chroma")
        assert (difference.onsets > 0.3) == (name == "onsets")
        assert (difference.loudness > 3.0) == (name == "loudness")
    assert compare(line, tune(2.0, level=0.15), RATE_HZ).loudness == pytest.approx(6.02, abs=0.1)
    assert compare(line, line[:, :9_000], RATE_HZ).changed == (9_000, line.shape[1])
    silence = np.zeros((2, 100), np.float32)
    assert compare(silence, silence, RATE_HZ).is_same
    assert compare(silence, silence[:, :40], RATE_HZ).chroma == 0.0
