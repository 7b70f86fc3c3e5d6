"""One gain, to the target or to the ceiling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.audio.loudness import Loudness, measure_loudness
from deployments.audio.normalise import NormaliseMode, apply_gain, normalising_gain
from deployments.audio.samples import Samples
from tests.support.clips import music

RATE_HZ = 16_000


def _loudness(lufs: float | None, true_peak_dbtp: float) -> Loudness:
    return Loudness(lufs, true_peak_dbtp, true_peak_dbtp, true_peak_dbtp - 10)


def _music(level: float = 1.0, duration_s: float = 1.0, seed: int = 1) -> Samples:
    sound = music(duration_s, RATE_HZ, seed=seed)
    return np.float32(level) * sound / np.abs(sound).max()


def test_the_target_is_reached_where_there_is_room() -> None:
    gain = normalising_gain(_loudness(-20.0, -10.0), NormaliseMode.LUFS, -16.0)
    assert (gain.gain_db, gain.limited_by_ceiling, gain.measured_db, gain.reached_db) == (
        4.0,
        False,
        -20.0,
        -16.0,
    )
    gain = normalising_gain(_loudness(-20.0, -10.0), NormaliseMode.PEAK, -1.0)
    assert (gain.gain_db, gain.limited_by_ceiling, gain.reached_db) == (9.0, False, -1.0)


def test_without_room_the_ceiling_is_reached_and_that_is_said() -> None:
    gain = normalising_gain(_loudness(-20.0, -3.0), NormaliseMode.LUFS, -14.0)
    assert (gain.gain_db, gain.limited_by_ceiling, gain.reached_db) == (2.0, True, -18.0)
    gain = normalising_gain(_loudness(-20.0, -3.0), NormaliseMode.PEAK, 0.0, ceiling_dbtp=-2.0)
    assert (gain.gain_db, gain.limited_by_ceiling, gain.reached_db) == (1.0, True, -2.0)


@pytest.mark.parametrize("mode", NormaliseMode)
def test_what_is_practically_silent_is_not_amplified(mode: NormaliseMode) -> None:
    gain = normalising_gain(_loudness(-69.0, -61.0), mode, -14.0)
    assert (gain.gain_db, gain.limited_by_ceiling, gain.measured_db, gain.reached_db) == (
        0.0,
        False,
        None,
        None,
    )


def test_even_what_cannot_be_measured_ends_under_the_ceiling() -> None:
    gain = normalising_gain(_loudness(None, 3.0), NormaliseMode.LUFS, -14.0)
    assert (gain.gain_db, gain.limited_by_ceiling, gain.measured_db) == (-4.0, True, None)


@given(
    level=st.floats(1e-3, 100.0),
    seed=st.integers(0, 5),
    mode=st.sampled_from(NormaliseMode),
    target_db=st.floats(-40, 6),
    ceiling_dbtp=st.floats(-12, 0),
)
def test_the_ceiling_is_never_passed(
    level: float, seed: int, mode: NormaliseMode, target_db: float, ceiling_dbtp: float
) -> None:
    signal = _music(level, 0.45, seed)
    gain = normalising_gain(measure_loudness(signal, RATE_HZ), mode, target_db, ceiling_dbtp)
    made = apply_gain(signal, gain)
    assert made.dtype == np.float32
    assert float(np.abs(made).max()) <= 10 ** (ceiling_dbtp / 20)
    after = measure_loudness(made, RATE_HZ)
    assert after.true_peak_dbtp <= ceiling_dbtp + 0.001
    reached = after.true_peak_dbtp if mode is NormaliseMode.PEAK else after.integrated_lufs
    if gain.reached_db is not None and reached is not None:
        # A quiet result may fall behind the absolute gate, in part or wholly.
        assert reached == pytest.approx(gain.reached_db, abs=0.01 if gain.reached_db > -55 else 1.0)
    assert gain.limited_by_ceiling or gain.measured_db is None or gain.reached_db == pytest.approx(target_db)


def test_full_scale_at_a_ceiling_of_0_db_is_not_passed_by_rounding() -> None:
    """A click on a sample: nothing between the samples is higher."""
    for peak in np.random.default_rng(1).uniform(0.01, 3.0, 200):
        click = np.zeros((1, 100), np.float32)
        click[0, 50] = peak
        loudness = measure_loudness(click, RATE_HZ)
        made = apply_gain(click, normalising_gain(loudness, NormaliseMode.PEAK, 0.0, 0.0))
        assert 0.999999 < made.max() <= 1.0


def test_0_db_changes_no_bit_and_blocks_change_nothing() -> None:
    signal = _music()
    at_its_target = normalising_gain(_loudness(-20.0, -1.0), NormaliseMode.LUFS, -20.0)
    assert apply_gain(signal, at_its_target) is signal
    gain = normalising_gain(measure_loudness(signal, RATE_HZ), NormaliseMode.LUFS, -20.0)
    blocks = [apply_gain(block, gain) for block in np.split(signal, [1, 777, 5000], axis=1)]
    assert np.array_equal(np.concatenate(blocks, axis=1), apply_gain(signal, gain))


def test_nothing_is_bent() -> None:
    signal = _music(0.9)
    made = apply_gain(
        signal, normalising_gain(measure_loudness(signal, RATE_HZ), NormaliseMode.LUFS, -5.0, -3.0)
    )
    inside = np.abs(signal) > 0.01
    np.testing.assert_allclose(
        (made[inside] / signal[inside]), made[inside][0] / signal[inside][0], rtol=1e-6
    )
