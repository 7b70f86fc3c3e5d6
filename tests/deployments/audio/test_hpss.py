"""The harmonic and the percussive part are librosa's, however the signal comes."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from deployments.audio.hpss import StreamingHpss, hpss
from deployments.audio.samples import Samples


def music(samples: int, channels: int = 1) -> Samples:
    time_s = np.arange(samples) / 44_100
    lasting = np.sin(2 * np.pi * 220 * time_s) + np.sin(2 * np.pi * 331 * time_s)
    striking = np.random.default_rng(1).standard_normal(samples) * np.exp(-50 * (time_s % 0.4))
    return np.array([0.2 * lasting + 0.3 * (n + 1) * striking for n in range(channels)], np.float32)


@pytest.mark.parametrize("samples", [2_049, 40_000, 300_000])
def test_it_is_librosas(samples: int) -> None:
    signal = music(samples, 2)
    parts = hpss(signal)
    for channel in range(2):
        harmonic, percussive = librosa.effects.hpss(signal[channel])
        np.testing.assert_allclose(parts.harmonic[channel], harmonic, atol=1e-5)
        np.testing.assert_allclose(parts.percussive[channel], percussive, atol=1e-5)


@pytest.mark.parametrize("block", [1_000, 131_072, 200_001])
def test_the_bits_do_not_depend_on_how_it_was_cut(block: int) -> None:
    signal = music(290_000)
    whole, stream = hpss(signal), StreamingHpss(1)
    pieces = [stream.push(signal[:, start : start + block]) for start in range(0, signal.shape[1], block)]
    pieces.append(stream.finish())
    for name in ("harmonic", "percussive"):
        joined = np.concatenate([getattr(piece, name) for piece in pieces], axis=1)
        assert joined.tobytes() == getattr(whole, name).tobytes()


@pytest.mark.parametrize("samples", [0, 1, 100, 2_048])
def test_short_signals_keep_their_length_and_their_sum(samples: int) -> None:
    signal = music(samples)
    parts = hpss(signal)
    assert parts.harmonic.shape == parts.percussive.shape == signal.shape
    np.testing.assert_allclose(parts.harmonic + parts.percussive, signal, atol=1e-6)


def test_what_lasts_and_what_strikes_are_told_apart() -> None:
    time_s = np.arange(3 * 44_100) / 44_100
    tone = 0.3 * np.sin(2 * np.pi * 440 * time_s)
    clicks = np.where(np.arange(time_s.size) % 22_050 < 20, 0.8, 0.0)
    parts = hpss(np.array([tone + clicks], np.float32))
    middle = slice(44_100, 88_200)
    assert np.corrcoef(parts.harmonic[0, middle], tone[middle])[0, 1] > 0.98
    assert np.abs(parts.percussive[0, middle]).max() > 0.5


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_silence_and_dc_have_finite_parts(value: float) -> None:
    parts = hpss(np.full((2, 50_000), value, np.float32))
    assert np.isfinite(parts.harmonic).all()
    np.testing.assert_allclose(parts.harmonic + parts.percussive, value, atol=1e-6)
