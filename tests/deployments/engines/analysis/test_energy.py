from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.analysis.energy import HOP_S, energy_curve
from deployments.engines.analysis.level import measure_level
from tests.deployments.engines.analysis.sounds import noise, time_s


def test_the_scale_is_one_of_decibels() -> None:
    square = np.sign(np.sin(2 * np.pi * 100 * time_s(2.0)) + 0.01).astype(np.float32)
    for gain, value in (
        (1.0, 1.0),
        (10 ** (-6 / 20), 0.9),
        (10 ** (-30 / 20), 0.5),
        (1e-4, 0.0),
        (100.0, 1.0),
    ):
        assert np.allclose(energy_curve(square * np.float32(gain), 22_050).values, value, atol=0.005)


def test_silence_is_0_and_a_part_that_is_louder_stands_out_where_it_is() -> None:
    clip = np.concatenate([np.zeros(22_050, np.float32), noise(1.0), np.zeros(22_050, np.float32)])
    values = energy_curve(clip, 22_050).values
    assert len(values) == 30
    assert set(values[:8]) == {0.0} == set(values[23:])
    assert min(values[12:18]) > 0.6


@given(samples=st.integers(1, 30_000), rate_hz=st.sampled_from([8_000, 22_050, 44_100, 192_000]))
def test_there_is_a_value_for_each_begun_hop(samples: int, rate_hz: int) -> None:
    curve = energy_curve(np.full((1, samples), 0.25, np.float32), rate_hz)
    assert curve.hop_s == HOP_S
    assert len(curve.values) == math.ceil(samples * 10 / rate_hz)
    assert np.allclose(curve.values, 1 - 12.04 / 60, atol=0.001)


@given(level=st.floats(-(2.0**99), 2.0**99, width=32))
def test_values_stay_within_0_and_1(level: float) -> None:
    values = energy_curve(np.full(4_000, level, np.float32), 22_050).values
    assert all(0.0 <= value <= 1.0 for value in values)


def test_the_level_is_what_a_meter_says() -> None:
    sine = (0.1 * np.sin(2 * np.pi * 997 * time_s(3.0, 48_000))).astype(np.float32)
    level = measure_level(np.stack([sine, sine]), 48_000)
    assert level.integrated_lufs == pytest.approx(-20.0, abs=0.1)
    assert level.true_peak_dbtp == pytest.approx(-20.0, abs=0.1)


def test_silence_and_moments_have_no_loudness() -> None:
    for samples in (96_000, 4_000):
        level = measure_level(np.zeros((1, samples), np.float32), 48_000)
        assert level.integrated_lufs is None
        assert level.true_peak_dbtp == -120.0
