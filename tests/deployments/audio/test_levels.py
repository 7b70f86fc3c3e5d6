import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deployments.audio.levels import LIMIT_FROM, matching_gain, peak_dbfs, rms_dbfs, soft_limit
from deployments.audio.samples import Samples

signals = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 2), st.integers(0, 300)), elements=st.floats(-8, 8, width=32)
)


def _noise(level: float, seconds: float, rate_hz: int = 8000, channels: int = 2, seed: int = 1) -> Samples:
    shape = (channels, round(seconds * rate_hz))
    return (level * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def test_known_levels() -> None:
    sine = np.sin(2 * np.pi * np.arange(8000) / 80, dtype=np.float32)[None]
    assert rms_dbfs(sine) == pytest.approx(-3.01, abs=0.01)
    assert peak_dbfs(sine) == pytest.approx(0.0, abs=0.01)
    assert rms_dbfs(np.full((2, 10), -0.1, dtype=np.float32)) == pytest.approx(-20.0, abs=0.001)
    one_loud_channel = np.array([[0.5] * 8, [0.0] * 8], dtype=np.float32)
    assert rms_dbfs(one_loud_channel) == pytest.approx(-9.03, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 0), (2, 0), (1, 1), (2, 1000)])
def test_silence_is_at_the_floor(shape: tuple[int, int]) -> None:
    silence = np.zeros(shape, dtype=np.float32)
    assert (rms_dbfs(silence), peak_dbfs(silence)) == (-120.0, -120.0)


@given(signals)
def test_levels_are_finite_and_the_peak_is_the_higher(samples: Samples) -> None:
    assert math.isfinite(rms_dbfs(samples))
    assert -120.0 <= rms_dbfs(samples) <= peak_dbfs(samples) + 1e-9


@pytest.mark.parametrize("factor", [0.25, 0.9, 1.0, 3.0])
def test_the_gain_makes_the_levels_equal(factor: float) -> None:
    target, copy = _noise(0.1, 2.0), _noise(0.1 * factor, 2.0, seed=2)
    gain = matching_gain(target, copy)
    assert rms_dbfs(copy * np.float32(gain)) == pytest.approx(rms_dbfs(target), abs=0.01)


def test_dc_counts_for_nothing() -> None:
    target = _noise(0.1, 1.0)
    assert matching_gain(target, target + np.float32(0.5)) == pytest.approx(1.0, abs=1e-4)


def test_silence_is_not_amplified() -> None:
    noise, nothing, faint = _noise(0.1, 1.0), _noise(0.0, 1.0), _noise(0.0005, 1.0)
    none = np.zeros((2, 0), dtype=np.float32)
    for quiet in (nothing, faint, none, nothing + np.float32(0.5)):
        assert matching_gain(noise, quiet) == 1.0
        assert matching_gain(quiet, noise) == 1.0


def test_the_gain_has_limits() -> None:
    assert matching_gain(_noise(0.9, 1.0), _noise(0.01, 1.0)) == pytest.approx(10 ** (24 / 20))
    assert matching_gain(_noise(0.01, 1.0), _noise(0.9, 1.0)) == pytest.approx(10 ** (-24 / 20))


def test_with_rates_the_same_last_three_seconds_are_compared() -> None:
    """The target at another rate, longer, and louder in what the reconstruction does not reach back to."""
    target = np.concatenate([_noise(0.8, 4.0, 16000), _noise(0.1, 3.0, 16000)], axis=1)
    copy = np.concatenate([_noise(0.01, 1.0, 8000), _noise(0.2, 3.0, 8000)], axis=1)
    assert matching_gain(target, copy, rates_hz=(16000, 8000)) == pytest.approx(0.5, rel=0.03)
    short = _noise(0.2, 1.0, 8000)
    swelling = np.concatenate([_noise(0.8, 2.0, 16000), _noise(0.1, 1.0, 16000)], axis=1)
    assert matching_gain(swelling, short, rates_hz=(16000, 8000)) == pytest.approx(0.5, rel=0.03)


@given(signals)
def test_the_limiter_keeps_full_scale_sign_and_all_that_is_quiet(samples: Samples) -> None:
    limited = soft_limit(samples)
    assert limited.dtype == np.float32
    assert (np.abs(limited) <= 1.0).all()
    quiet = np.abs(samples) <= LIMIT_FROM
    assert np.array_equal(limited[quiet], samples[quiet])
    assert np.array_equal(np.signbit(limited), np.signbit(samples))


@given(signals, st.lists(st.integers(0, 300), max_size=4))
def test_the_limiter_knows_no_blocks(samples: Samples, cuts: list[int]) -> None:
    blocks = [soft_limit(block) for block in np.split(samples, sorted(cuts), axis=1)]
    assert np.concatenate(blocks, axis=1).tobytes() == soft_limit(samples).tobytes()


def test_the_limiter_bends_smoothly_and_never_folds_back() -> None:
    ramp = np.linspace(0.0, 4.0, 40_001, dtype=np.float32)[None]
    limited = soft_limit(ramp)[0].astype(np.float64)
    slope = np.diff(limited) / np.diff(ramp[0].astype(np.float64))
    assert (slope > -1e-6).all()
    assert np.abs(np.diff(slope)).max() < 0.01


def test_the_limiter_leaves_its_input_alone() -> None:
    loud = np.full((1, 4), 2.0, dtype=np.float32)
    soft_limit(loud)
    assert (loud == 2.0).all()
