import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.audio.energy_gate import EnergyGate, GateSettings, Stretch, sounding
from deployments.audio.samples import Samples

RATE_HZ = 8000
SETTINGS = GateSettings(floor_dbfs=-40.0, hysteresis_db=6.0, hold_s=0.1, frame_s=0.01)
FRAME = 80


def _tone(level_dbfs: float, duration_s: float, channels: int = 1) -> Samples:
    """A sine with that mean power."""
    phase = 2 * np.pi * 1000 * np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    row = np.sqrt(2) * 10 ** (level_dbfs / 20) * np.sin(phase)
    return np.tile(row.astype(np.float32), (channels, 1))


def _silence(duration_s: float, channels: int = 1) -> Samples:
    return np.zeros((channels, round(duration_s * RATE_HZ)), np.float32)


def _stretches(*pieces: Samples) -> list[tuple[float, float]]:
    """In seconds."""
    found = sounding(np.concatenate(pieces, axis=1), RATE_HZ, SETTINGS)
    return [(start / RATE_HZ, end / RATE_HZ) for start, end in found]


def test_tones_with_gaps() -> None:
    found = _stretches(_silence(0.5), _tone(-20, 0.3), _silence(0.4), _tone(-30, 0.2), _silence(1.0))
    assert found == [(0.5, 0.8), (1.2, 1.4)]


def test_a_pause_within_the_hold_parts_nothing() -> None:
    assert _stretches(_tone(-20, 0.3), _silence(0.1), _tone(-20, 0.3)) == [(0.0, 0.7)]
    assert _stretches(_tone(-20, 0.3), _silence(0.12), _tone(-20, 0.3)) == [(0.0, 0.3), (0.42, 0.72)]


def test_a_stretch_ends_where_the_sound_does_not_after_the_hold() -> None:
    assert _stretches(_tone(-20, 0.3), _silence(0.05)) == [(0.0, 0.3)]


def test_below_the_floor_nothing_begins_but_what_began_goes_on() -> None:
    assert _stretches(_tone(-43, 1.0)) == []
    assert _stretches(_silence(0.2), _tone(-43, 0.5), _tone(-30, 0.1), _tone(-43, 0.5)) == [(0.7, 1.3)]
    assert _stretches(_tone(-30, 0.1), _tone(-47, 0.5)) == [(0.0, 0.1)]


def test_the_loudest_channel_counts() -> None:
    left = np.concatenate([_tone(-39, 0.3), _silence(0.3)])
    assert sounding(left, RATE_HZ, SETTINGS) == [Stretch(0, 2400)]


def test_a_last_frame_may_be_short() -> None:
    sound = _tone(-20, 0.3)[:, : 5 * FRAME + 3]
    assert sounding(sound, RATE_HZ, SETTINGS) == [Stretch(0, 5 * FRAME + 3)]


@pytest.mark.parametrize("samples", [0, 1, FRAME - 1, 10_000])
def test_silence_has_no_stretches(samples: int) -> None:
    assert sounding(np.zeros((2, samples), np.float32), RATE_HZ) == []


@given(
    levels=st.lists(st.sampled_from([-120.0, -44.0, -41.0, -38.0, -20.0]), max_size=8),
    cuts=st.lists(st.integers(0, 5_000), max_size=5),
)
def test_however_it_is_cut_the_stretches_are_the_same(levels: list[float], cuts: list[int]) -> None:
    pieces = [_tone(level, 0.077) for level in levels]
    signal = np.concatenate([_silence(0.0), *pieces], axis=1)
    gate = EnergyGate(RATE_HZ, SETTINGS)
    found = [stretch for block in np.split(signal, sorted(cuts), axis=1) for stretch in gate.push(block)]
    found += gate.finish()
    assert found == sounding(signal, RATE_HZ, SETTINGS)
    edges = [edge for stretch in found for edge in stretch]
    assert edges == sorted(set(edges))
    assert all(0 <= edge <= signal.shape[1] for edge in edges)
