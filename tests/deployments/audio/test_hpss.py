"""The harmonic and the percussive part are librosa's, however the signal comes."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Sequence

import librosa
import numpy as np
import pytest

from deployments.audio.hpss import HOP_SAMPLES, StreamingHpss, hpss
from deployments.audio.samples import Samples


def music(samples: int, channels: int = 1) -> Samples:
    time_s = np.arange(samples) / 44_100
    lasting = np.sin(2 * np.pi * 220 * time_s) + np.sin(2 * np.pi * 331 * time_s)
    striking = np.random.default_rng(1).standard_normal(samples) * np.exp(-50 * (time_s % 0.4))
    return np.array([0.2 * lasting + 0.3 * (n + 1) * striking for n in range(channels)], np.float32)


def trills(samples: int) -> Samples:
    """Tones that lie exactly on bins and last a few frames each: between them there is next to nothing, and every
    rounding of a spectrum would show in its medians."""
    index = np.arange(samples)
    step = index // 3_000 % 5
    return np.sin(2 * np.pi * np.array([20, 57, 83, 140, 31])[step] * index / 2048)[None].astype(np.float32)


def clicks(samples: int) -> Samples:
    return (np.arange(samples) % 7_001 == 0)[None].astype(np.float32)


def faded(samples: int) -> Samples:
    """Into digital silence and out of it again."""
    index = np.arange(samples)
    return np.where(index // 60_000 % 2 == 0, 0.5 * np.sin(index / 7), 0.0)[None].astype(np.float32)


SIGNALS = {"music": music, "trills": trills, "clicks": clicks, "faded": faded}


@pytest.mark.parametrize("name", SIGNALS)
def test_it_is_librosas(name: str) -> None:
    signal = SIGNALS[name](300_000)
    harmonic, percussive = librosa.effects.hpss(signal)
    parts = hpss(signal)
    assert np.abs(parts.harmonic - harmonic).max() < 2e-6
    assert np.abs(parts.percussive - percussive).max() < 2e-6


def test_channels_do_not_hear_each_other() -> None:
    signal = music(40_000, 2)
    together, apart = hpss(signal), [hpss(channel[None]) for channel in signal]
    assert np.array_equal(together.harmonic, np.concatenate([parts.harmonic for parts in apart]))


def plain_medians(values: np.ndarray, size: Sequence[int], mode: str) -> np.ndarray:
    """`scipy.ndimage.median_filter` along one axis. That one's answers vary where there are two or three frames."""
    assert mode == "reflect"
    (axis,) = np.flatnonzero(np.array(size) > 1)
    reach = size[axis] // 2
    around = [(reach, reach) if each == axis else (0, 0) for each in range(values.ndim)]
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(values, around, mode="symmetric"), size[axis], axis=axis
    )
    medians: np.ndarray = np.partition(windows, reach, axis=-1)[..., reach]
    return medians


@pytest.mark.filterwarnings("ignore:n_fft=2048 is too large for input signal")
@pytest.mark.parametrize(
    "samples",
    [1, 2, 511, 512, 700, 1023, 1024, 1025, 2047, 2048, 2049, 5_000]
    # As many frames as a median reaches over, and as a group has.
    + [frames * HOP_SAMPLES + odd for frames in (14, 15, 30, 31, 255, 256) for odd in (-1, 0)],
)
def test_of_any_length_it_is_librosas(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(librosa.decompose, "median_filter", plain_medians)
    signal = music(samples)
    harmonic, percussive = librosa.effects.hpss(signal)
    parts = hpss(signal)
    assert np.abs(parts.harmonic - harmonic).max() < 2e-6
    assert np.abs(parts.percussive - percussive).max() < 2e-6


@pytest.mark.parametrize("block", [1_000, 131_072, 200_001])
def test_the_bits_do_not_depend_on_how_it_was_cut(block: int) -> None:
    signal = music(290_000)
    whole, stream = hpss(signal), StreamingHpss(1)
    pieces = [stream.push(signal[:, start : start + block]) for start in range(0, signal.shape[1], block)]
    pieces.append(stream.finish())
    for name in ("harmonic", "percussive"):
        joined = np.concatenate([getattr(piece, name) for piece in pieces], axis=1)
        assert joined.tobytes() == getattr(whole, name).tobytes()


@pytest.mark.parametrize("block", [1, 7])
def test_a_signal_may_come_drop_by_drop(block: int) -> None:
    signal, stream = music(2_000, 2), StreamingHpss(2)
    pieces = [stream.push(signal[:, start : start + block]) for start in range(0, signal.shape[1], block)]
    joined = np.concatenate([piece.harmonic for piece in (*pieces, stream.finish())], axis=1)
    assert np.array_equal(joined, hpss(signal).harmonic)


def test_what_was_pushed_may_be_overwritten() -> None:
    signal, stream = music(290_000), StreamingHpss(1)
    block, given = np.empty((1, 58_000), np.float32), []
    for start in range(0, signal.shape[1], block.shape[1]):
        block[:] = signal[:, start : start + block.shape[1]]
        given.append(stream.push(block).percussive)
    given.append(stream.finish().percussive)
    assert np.array_equal(np.concatenate(given, axis=1), hpss(signal).percussive)


def test_a_long_signal_takes_no_more_memory_than_a_short_one() -> None:
    stream, block = StreamingHpss(1), music(131_072)
    gc.disable()  # what only the collector frees piles up until it comes
    tracemalloc.start()
    try:
        kept = [(stream.push(block), tracemalloc.get_traced_memory()[0])[1] for _ in range(6)]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert max(kept[2:]) < min(kept[2:]) + 1e6


@pytest.mark.parametrize("samples", [0, 1, 100, 511, 512, 700, 1_023, 2_048])
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


@pytest.mark.parametrize("value", [0.0, 0.5, 1e-42, 1e20, 3e38])
def test_silence_dc_and_the_absurd_have_finite_parts(value: float) -> None:
    signal = np.full((2, 50_000), value, np.float32)
    parts = hpss(signal)
    assert np.isfinite(parts.harmonic).all()
    np.testing.assert_allclose(parts.harmonic + parts.percussive, signal, rtol=1e-5)
