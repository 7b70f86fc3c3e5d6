"""Loudness as the standards have it, and the gain that follows from it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from deployments.audio.loudness import LoudnessMeter, measure_loudness
from deployments.audio.normalise import NormaliseMode, apply_gain, normalising_gain
from deployments.audio.samples import Samples
from deployments.audio.wav import encode_wav
from deployments.export.ffmpeg import find_ffmpeg


def sine(level_dbfs: float, channels: int, rate_hz: int = 48_000, frequency_hz: float = 997.0) -> Samples:
    time_s = np.arange(6 * rate_hz) / rate_hz
    row = 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * frequency_hz * time_s)
    return np.tile(row.astype(np.float32), (channels, 1))


def bursts(channels: int, rate_hz: int) -> Samples:
    """Noise that comes and goes, so that the gates matter."""
    noise = 0.1 * np.random.default_rng(2).standard_normal((channels, 8 * rate_hz))
    noise[:, 3 * rate_hz : 6 * rate_hz] *= 0.003
    return noise.astype(np.float32)


@pytest.mark.parametrize(("level_dbfs", "channels", "lufs"), [(0.0, 1, -3.01), (-23.0, 2, -23.0)])
def test_the_standards_own_tones(level_dbfs: float, channels: int, lufs: float) -> None:
    loudness = measure_loudness(sine(level_dbfs, channels), 48_000)
    assert loudness.integrated_lufs == pytest.approx(lufs, abs=0.05)
    assert loudness.peak_dbfs == pytest.approx(level_dbfs, abs=0.01)
    assert loudness.true_peak_dbtp == pytest.approx(level_dbfs, abs=0.1)


@pytest.mark.parametrize(
    ("channels", "rate_hz"), [(1, 44_100), (2, 48_000), (2, 8_000), (2, 96_000), (1, 192_000)]
)
def test_it_is_what_ffmpeg_measures(channels: int, rate_hz: int, tmp_path: Path) -> None:
    signal = bursts(channels, rate_hz)
    source = tmp_path / "signal.wav"
    source.write_bytes(encode_wav(signal, rate_hz))
    command = [find_ffmpeg(None), "-hide_banner", "-nostats", "-i", source, "-af", "ebur128=peak=true"]
    said = subprocess.run([*command, "-f", "null", "-"], capture_output=True, text=True, check=True).stderr
    lufs, peak = (
        float(re.findall(pattern, said)[-1]) for pattern in (r"I:\s+(-[\d.]+)", r"Peak:\s+(-?[\d.]+)")
    )
    loudness = measure_loudness(signal, rate_hz)
    assert loudness.integrated_lufs == pytest.approx(lufs, abs=0.15)
    assert loudness.true_peak_dbtp == pytest.approx(peak, abs=0.3)


def test_cutting_changes_nothing_but_rounding() -> None:
    signal = bursts(2, 44_100)
    meter = LoudnessMeter(44_100, 2)
    for start in range(0, signal.shape[1], 7_001):
        meter.push(signal[:, start : start + 7_001])
    cut, whole = meter.finish(), measure_loudness(signal, 44_100)
    assert cut.integrated_lufs == pytest.approx(whole.integrated_lufs, abs=1e-6)
    assert cut.true_peak_dbtp == pytest.approx(whole.true_peak_dbtp, abs=1e-4)


@pytest.mark.parametrize("signal", [np.zeros((2, 48_000)), np.full((1, 4_800), 0.5), np.zeros((1, 0))])
def test_what_cannot_be_measured_is_none_and_is_not_amplified(signal: Samples) -> None:
    loudness = measure_loudness(signal.astype(np.float32), 48_000)
    assert loudness.integrated_lufs is None
    gain = normalising_gain(loudness, NormaliseMode.LUFS, -14.0)
    assert (gain.gain_db, gain.measured_db) == (0.0, None)


@pytest.mark.parametrize("mode", NormaliseMode)
@pytest.mark.parametrize("target_db", [-30.0, -14.0, 0.0])
def test_a_gain_reaches_its_target_or_the_ceiling_and_never_more(
    mode: NormaliseMode, target_db: float
) -> None:
    signal = bursts(2, 44_100)
    gain = normalising_gain(measure_loudness(signal, 44_100), mode, target_db, -1.0)
    after = measure_loudness(apply_gain(signal, gain), 44_100)
    reached = after.true_peak_dbtp if mode is NormaliseMode.PEAK else after.integrated_lufs
    assert after.true_peak_dbtp <= -1.0 + 0.01
    assert gain.reached_db == pytest.approx(reached, abs=0.01)
    if gain.limited_by_ceiling:
        assert after.true_peak_dbtp == pytest.approx(-1.0, abs=0.01)
    else:
        assert reached == pytest.approx(target_db, abs=0.01)
