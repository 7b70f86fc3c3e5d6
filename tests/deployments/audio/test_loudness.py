"""Loudness and peaks as the standards have them, and as ffmpeg measures them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from deployments.audio.levels import peak_dbfs, rms_dbfs
from deployments.audio.loudness import LoudnessMeter, measure_loudness
from deployments.audio.samples import Samples
from deployments.audio.wav import encode_wav
from deployments.export.ffmpeg import find_ffmpeg
from tests.support.clips import music


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


def gentle(signal: Samples, rate_hz: int) -> Samples:
    """Faded in and out: what lies before and after a signal is not the same to every meter."""
    ramp = np.linspace(0.0, 1.0, rate_hz // 20, dtype=np.float32)
    signal = signal.copy()
    signal[:, : ramp.size] *= ramp
    signal[:, -ramp.size :] *= ramp[::-1]
    return signal


def by_ffmpeg(signal: Samples, rate_hz: int, folder: Path) -> tuple[float, float]:
    """(LUFS, dBTP) as its filter tells them after the last block: with three digits."""
    source = folder / "signal.wav"
    source.write_bytes(encode_wav(signal, rate_hz))
    filters = "ebur128=peak=true:metadata=1,ametadata=mode=print:file=-"
    command = [find_ffmpeg(None), "-v", "error", "-i", source, "-af", filters, "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lufs = float(re.findall(r"r128\.I=(\S+)", said)[-1])
    channel_peaks = [re.findall(rf"true_peaks_ch{channel}=(\S+)", said) for channel in range(len(signal))]
    return lufs, 20 * np.log10(max(float(peaks[-1]) for peaks in channel_peaks))


@pytest.mark.parametrize(
    ("name", "rate_hz"),
    [("bursts", rate_hz) for rate_hz in (8_000, 11_025, 44_100, 48_000, 96_000, 192_000)]
    + [("music", rate_hz) for rate_hz in (44_100, 48_000, 192_000)]
    + [("sine", rate_hz) for rate_hz in (8_000, 44_100, 96_000)],
)
def test_it_is_what_ffmpeg_measures(name: str, rate_hz: int, tmp_path: Path) -> None:
    signals = {
        "bursts": bursts(2, rate_hz),
        "music": np.concatenate([music(2.0, rate_hz), 0.03 * music(3.0, rate_hz)], axis=1),
        "sine": np.concatenate([sine(-9.0, 1, rate_hz, 1_000.0), sine(-6.0, 1, rate_hz, 0.37 * rate_hz / 2)]),
    }
    # A whole number of its steps, or it leaves out the rest.
    signal = gentle(signals[name][:, : rate_hz // 10 * 40], rate_hz)
    lufs, peak_dbtp = by_ffmpeg(signal, rate_hz, tmp_path)
    loudness = measure_loudness(signal, rate_hz)
    assert loudness.integrated_lufs == pytest.approx(lufs, abs=0.1)
    assert loudness.true_peak_dbtp == pytest.approx(peak_dbtp, abs=0.2)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_a_peak_between_the_samples_is_found(rate_hz: int) -> None:
    """A quarter of the rate, sampled 45 degrees off its crests: the samples are 3 dB lower."""
    phase = np.pi / 2 * np.arange(rate_hz) + np.pi / 4
    signal = gentle(np.sin(phase)[None].astype(np.float32), rate_hz)
    loudness = measure_loudness(signal, rate_hz)
    assert loudness.peak_dbfs == pytest.approx(-3.01, abs=0.01)
    assert loudness.true_peak_dbtp == pytest.approx(0.0, abs=0.05)


def test_at_48_khz_the_weighting_is_the_standards_table() -> None:
    """Tables 1 and 2 of BS.1770."""
    frequencies_hz = np.array([20.0, 100.0, 997.0, 2_000.0, 10_000.0, 20_000.0])
    z = np.exp(-2j * np.pi * frequencies_hz / 48_000)
    shelf = np.polyval([1.19839281085285, -2.69169618940638, 1.53512485958697], z) / np.polyval(
        [0.73248077421585, -1.69065929318241, 1.0], z
    )
    high_pass = np.polyval([1.0, -2.0, 1.0], z) / np.polyval([0.99007225036621, -1.99004745483398, 1.0], z)
    expected_lufs = -0.691 - 3.01 + 20 * np.log10(np.abs(shelf * high_pass))
    measured_lufs = [
        measure_loudness(sine(0.0, 1, 48_000, hz), 48_000).integrated_lufs for hz in frequencies_hz
    ]
    np.testing.assert_allclose(measured_lufs, expected_lufs, atol=0.02)


def test_cutting_changes_nothing_but_rounding() -> None:
    signal = bursts(2, 44_100)
    meter = LoudnessMeter(44_100, 2)
    for start in range(0, signal.shape[1], 7_001):
        meter.push(signal[:, start : start + 7_001])
    cut, whole = meter.finish(), measure_loudness(signal, 44_100)
    assert cut.integrated_lufs == pytest.approx(whole.integrated_lufs, abs=1e-6)
    assert cut.true_peak_dbtp == pytest.approx(whole.true_peak_dbtp, abs=1e-4)


@pytest.mark.parametrize("signal", [np.zeros((2, 48_000)), np.full((1, 19_199), 0.5), np.zeros((1, 0))])
def test_silence_and_less_than_400_ms_have_no_loudness(signal: Samples) -> None:
    assert measure_loudness(signal.astype(np.float32), 48_000).integrated_lufs is None


def test_400_ms_are_enough() -> None:
    assert measure_loudness(sine(-23.0, 2)[:, :19_200], 48_000).integrated_lufs is not None


def test_below_the_gate_there_is_no_loudness() -> None:
    assert measure_loudness(sine(-72.0, 2), 48_000).integrated_lufs is None
    assert measure_loudness(sine(-68.0, 2), 48_000).integrated_lufs is not None


@pytest.mark.parametrize("samples", [0, 1, 48_000])
def test_silence_is_at_the_floor(samples: int) -> None:
    loudness = measure_loudness(np.zeros((2, samples), np.float32), 48_000)
    assert (loudness.true_peak_dbtp, loudness.peak_dbfs, loudness.rms_dbfs) == (-120.0, -120.0, -120.0)


def test_levels_are_those_of_the_whole_signal() -> None:
    signal = bursts(2, 8_000)
    loudness = measure_loudness(signal, 8_000)
    assert loudness.peak_dbfs == pytest.approx(peak_dbfs(signal))
    assert loudness.rms_dbfs == pytest.approx(rms_dbfs(signal))


@pytest.mark.parametrize("value", [1.0, 1e20, 3e38])
@pytest.mark.parametrize("samples", [1, 30_000])
def test_dc_and_the_absurd_have_finite_levels(value: float, samples: int) -> None:
    loudness = measure_loudness(np.full((1, samples), value, np.float32), 48_000)
    assert np.isfinite([loudness.true_peak_dbtp, loudness.peak_dbfs, loudness.rms_dbfs]).all()
    assert loudness.true_peak_dbtp >= loudness.peak_dbfs


@pytest.mark.parametrize(("rate_hz", "channels"), [(3_999, 1), (48_000, 0), (48_000, 3)])
def test_what_cannot_be_weighted_is_refused(rate_hz: int, channels: int) -> None:
    with pytest.raises(ValueError, match="cannot"):
        LoudnessMeter(rate_hz, channels)
