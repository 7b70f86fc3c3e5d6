"""Clips that are made of numbers: float32 [samples] at 22.05 kHz unless said otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deployments.audio.samples import Samples

RATE_HZ = 22_050

MAJOR, MINOR = (0, 4, 7), (0, 3, 7)
PROGRESSIONS = {
    "major": ((0, MAJOR), (5, MAJOR), (7, MAJOR), (0, MAJOR)),
    "minor": ((0, MINOR), (5, MINOR), (7, MAJOR), (0, MINOR)),
}
"""Tonic, subdominant, dominant, tonic: semitones of the roots, and the chords over them."""


def time_s(duration_s: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    return np.arange(round(duration_s * rate_hz)) / rate_hz


def tone(midi: float, duration_s: float, rate_hz: int = RATE_HZ, partials: int = 5) -> np.ndarray:
    """A plucked string, more or less."""
    at_s, frequency_hz = time_s(duration_s, rate_hz), 440.0 * 2 ** ((midi - 69) / 12)
    wave = sum(np.sin(2 * np.pi * frequency_hz * n * at_s) / n for n in range(1, partials + 1))
    return 0.1 * wave * np.exp(-1.5 * at_s) * np.minimum(1.0, at_s / 0.005)


def cadence(
    tonic: int, mode: str, *, bars: int = 8, bar_s: float = 1.0, cents: float = 0.0, rate_hz: int = RATE_HZ
) -> Samples:
    """Chords that leave no doubt about their key; `tonic` 0 is C."""
    bars_ = []
    for bar in range(bars):
        root, chord = PROGRESSIONS[mode][bar % 4]
        low = 48 + (tonic + root) % 12 + cents / 100
        notes = [low - 12, *(low + 12 + step for step in chord)]
        bars_.append(sum(tone(note, bar_s, rate_hz) for note in notes))
    return np.concatenate(bars_).astype(np.float32)


def noise(duration_s: float, level: float = 0.1, seed: int = 1) -> Samples:
    return (level * np.random.default_rng(seed).standard_normal(round(duration_s * RATE_HZ))).astype(
        np.float32
    )


def click(duration_s: float = 5.0) -> Samples:
    samples = np.zeros(round(duration_s * RATE_HZ), np.float32)
    samples[samples.size // 3] = 0.9
    return samples


def drums(duration_s: float, bpm: float = 120.0) -> Samples:
    """A thump on every beat and a burst of noise between."""
    samples, rng = np.zeros(round(duration_s * RATE_HZ)), np.random.default_rng(3)
    at_s = time_s(0.15)
    thump = 0.6 * np.sin(2 * np.pi * 60 * at_s) * np.exp(-30 * at_s)
    burst = 0.3 * rng.standard_normal(at_s.size) * np.exp(-50 * at_s)
    step = round(30 / bpm * RATE_HZ)
    for number, start in enumerate(range(0, samples.size - at_s.size, step)):
        samples[start : start + at_s.size] += thump if number % 2 == 0 else burst
    return samples.astype(np.float32)


def babble(duration_s: float, seed: int = 4) -> Samples:
    """Speech-like: a gliding voice in syllables, with vowels' resonances and consonants' noise."""
    from scipy.signal import lfilter

    rng, size = np.random.default_rng(seed), round(duration_s * RATE_HZ)
    glide = 150.0 * np.exp2(
        np.interp(np.arange(size), np.arange(0, size, 3000), rng.uniform(-0.4, 0.4, -(-size // 3000)))
    )
    voice, out = (np.cumsum(glide / RATE_HZ) % 1.0) - 0.5, np.zeros(size)
    length = RATE_HZ // 6
    for start in range(0, size - length, length):
        source = voice[start : start + length] if rng.random() < 0.7 else 0.3 * rng.standard_normal(length)
        for resonance_hz in (rng.uniform(300, 800), rng.uniform(900, 2300), rng.uniform(2400, 3200)):
            radius = np.exp(-np.pi * 90 / RATE_HZ)
            poles = [1.0, -2 * radius * np.cos(2 * np.pi * resonance_hz / RATE_HZ), radius**2]
            out[start : start + length] += lfilter([1 - radius], poles, source) * np.hanning(length)
    return (0.3 * out / np.abs(out).max()).astype(np.float32)


def joined(parts: Sequence[Samples]) -> Samples:
    return np.concatenate(parts).astype(np.float32)
