"""The parts of a seam, each by itself: lags, clicks, grids, stretches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deployments.audio.seam.grid import MOST_STRETCH, Grid, lock
from deployments.audio.seam.mending import mend
from deployments.audio.seam.phase import find_lag
from deployments.audio.seam.stretch import REACH_S, stretched
from tests.support.clips import music

RATE_HZ = 16_000
MUSIC = music(6.0, RATE_HZ, 2)


@settings(max_examples=30, deadline=None)
@given(lag=st.integers(-300, 300), gain=st.floats(0.01, 10), offset=st.floats(-0.1, 0.1))
def test_a_copy_is_found_whatever_its_level_and_dc(lag: int, gain: float, offset: float) -> None:
    reference = MUSIC[:, 20_000:26_000]
    copy = np.float32(gain) * MUSIC[:, 19_700 - lag : 26_300 - lag] + np.float32(offset)
    found = find_lag(reference, copy)
    assert found.samples == lag
    assert found.likeness == pytest.approx(1.0, abs=1e-3)


def test_nothing_is_like_silence() -> None:
    found = find_lag(MUSIC[:, :2_000], np.zeros((2, 2_200), np.float32))
    assert (found.samples, found.likeness) == (0, 0.0)


@pytest.mark.parametrize("at", [30_000, 45_001])
def test_a_click_is_mended_and_nothing_else(at: int) -> None:
    clicked = MUSIC.copy()
    clicked[:, at : at + 3] += np.float32([0.5, -0.6, 0.4])
    mended, replaced = mend(clicked, at, RATE_HZ)
    assert 3 <= replaced <= 0.004 * RATE_HZ
    assert np.abs(mended - MUSIC).max() < 0.05
    assert np.array_equal(
        np.delete(mended, np.s_[at - 60 : at + 60], 1), np.delete(MUSIC, np.s_[at - 60 : at + 60], 1)
    )


def test_a_drum_is_no_click() -> None:
    at = 30_000
    struck = MUSIC.copy()
    noise = np.random.default_rng(1).standard_normal(3_000) * np.exp(-np.arange(3_000) / 600)
    struck[:, at : at + 3_000] += (0.5 * noise).astype(np.float32)
    mended, replaced = mend(struck, at, RATE_HZ)
    assert replaced == 0
    assert mended is struck


@given(
    line=st.builds(Grid, st.floats(0.3, 1.1), st.floats(0, 0.29)),
    first_s=st.floats(0, 0.29),
    off=st.floats(-0.039, 0.039),
    times=st.sampled_from([1.0, 2.0, 0.5]),
    duration_s=st.floats(1, 60),
)
def test_locked_beats_lie_on_the_lines(
    line: Grid, first_s: float, off: float, times: float, duration_s: float
) -> None:
    take = Grid(line.period_s * (1 + off) * times, first_s)
    found = lock(line, take, duration_s)
    assert found is not None
    assert -0.06 - 1e-9 <= found.from_s <= 1.5 * line.period_s
    beats_s = take.first_s + take.period_s * np.arange(-2, round(duration_s / take.period_s))
    heard_s = (beats_s - found.from_s) / found.stretch
    period_s = min(line.period_s, take.period_s / found.stretch)
    off_s = (heard_s - line.first_s + period_s / 2) % period_s - period_s / 2
    assert np.abs(off_s).max() < 0.005


@given(off=st.floats(1.001, 1.2))
def test_another_tempo_is_left_alone(off: float) -> None:
    stretch = 1 + MOST_STRETCH * off
    assume(all(abs(stretch * each - 1) > MOST_STRETCH for each in (1, 2, 0.5, 3, 1 / 3, 1.5, 2 / 3)))
    assert lock(Grid(0.5, 0.1), Grid(0.5 * stretch, 0.0), 10.0) is None


@settings(max_examples=20, deadline=None)
@given(stretch=st.floats(0.96, 1.04), count=st.integers(1, 80_000))
def test_a_stretch_keeps_pitch_level_and_place(stretch: float, count: int) -> None:
    tone = (0.3 * np.sin(2 * np.pi * 441 * np.arange(90_000) / RATE_HZ)).astype(np.float32)[None]
    made = stretched(tone, stretch, count, RATE_HZ)
    assert made.shape == (1, count)
    assert np.abs(made).max() < 0.32
    if count > 16_000:
        spectrum = np.abs(np.fft.rfft(made[0] * np.hanning(count)))
        assert np.argmax(spectrum) * RATE_HZ / count == pytest.approx(441, abs=3)
    pulses = np.zeros((1, 90_000), np.float32)
    pulses[0, 4_000::4_000] = 1.0
    heard = np.flatnonzero(stretched(pulses, stretch, count, RATE_HZ)[0] > 0.6)
    due = np.arange(4_000, 90_000, 4_000) / stretch
    assert all(np.abs(due - at).min() <= 1.5 * REACH_S * RATE_HZ for at in heard)


def test_a_stretch_of_one_changes_nothing() -> None:
    assert np.array_equal(stretched(MUSIC, 1.0, 5_000, RATE_HZ), MUSIC[:, :5_000])
