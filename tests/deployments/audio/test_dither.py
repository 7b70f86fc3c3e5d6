"""16-bit integers of floats: exact where the floats are integers already, dithered elsewhere."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.audio.dither import STRETCH_SAMPLES, Dither16, Integers
from deployments.audio.samples import Samples


def _all(samples: Samples, cuts: list[int] | None = None) -> Integers:
    dither = Dither16(samples.shape[0])
    pieces = [dither.push(piece) for piece in np.split(samples, sorted(cuts or []), axis=1)]
    return np.concatenate([*pieces, dither.finish()], axis=1)


def _noise(samples: int, channels: int = 1, seed: int = 0) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, samples))).astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 2), st.integers(0, 5000), st.lists(st.integers(0, 5000), max_size=6))
def test_no_cut_changes_a_bit(channels: int, samples: int, cuts: list[int]) -> None:
    signal = _noise(samples, channels)
    whole = _all(signal)
    assert whole.shape == signal.shape
    assert whole.tobytes() == _all(signal, [min(cut, samples) for cut in cuts]).tobytes()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=3000))
def test_integers_come_back_as_they_were(steps: list[int]) -> None:
    signal = (np.array([steps]) / 32768).astype(np.float32)
    np.testing.assert_array_equal(_all(signal), [steps])


def test_only_the_stretch_and_channel_that_needs_it_is_dithered() -> None:
    steps = np.random.default_rng(1).integers(-20_000, 20_000, (2, 4 * STRETCH_SAMPLES))
    signal = (steps / 32768).astype(np.float32)
    signal[1, STRETCH_SAMPLES + 5] += np.float32(0.3 / 32768)
    differing = np.argwhere(_all(signal) != steps)
    assert len(differing) > STRETCH_SAMPLES // 4
    assert set(differing[:, 0]) == {1}
    assert set(differing[:, 1] // STRETCH_SAMPLES) == {1}


def test_the_error_is_triangular_noise_that_knows_nothing_of_the_signal() -> None:
    """A tone of a third of a step survives; the error has the power of rounding and triangular dither together."""
    time = np.arange(200_000)
    signal = (np.sin(2 * np.pi * 0.01 * time) / 3 / 32768).astype(np.float32)[np.newaxis]
    error = _all(signal)[0] - signal[0].astype(np.float64) * 32768
    tone = signal[0].astype(np.float64) * 32768
    assert abs(np.dot(error, tone) / np.dot(tone, tone)) < 0.05
    assert abs(error.mean()) < 0.01
    assert abs(error.var() - 0.25) < 0.01  # 1/12 + 2/12


def test_what_is_over_full_scale_does_not_wrap() -> None:
    assert _all(np.array([[1.0, -1.0, 7.0, -7.0, 3e38, -3e38]], np.float32)).tolist() == [
        [32767, -32768, 32767, -32768, 32767, -32768]
    ]
