"""Drums and clicks made of a few lines of numpy, to be listened to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RATE_HZ = 22_050
Signal = npt.NDArray[np.float32]


def silence(duration_s: float) -> Signal:
    return np.zeros(round(duration_s * RATE_HZ), np.float32)


def clicks(times_s: Sequence[float], duration_s: float) -> Signal:
    return _placed(duration_s, [(time_s, _noise(0.02, 300, seed=1), 0.5) for time_s in times_s])


def beats_at(bpm: float, duration_s: float, first_s: float = 0.3) -> list[float]:
    return np.arange(first_s, duration_s, 60 / bpm).tolist()


def rock(bpm: float, duration_s: float, first_s: float = 0.0, *, jitter_s: float = 0.0) -> Signal:
    """Kick on 1 and 3, snare on 2 and 4, hats in eighths, a bass that has the chord's root on every beat."""
    return band(bpm, duration_s, first_s, meter=4, kicks=(0, 2), snares=(1, 3), jitter_s=jitter_s)


def waltz(bpm: float, duration_s: float, first_s: float = 0.0) -> Signal:
    """Kick and bass on 1, snare on 2 and 3."""
    return band(bpm, duration_s, first_s, meter=3, kicks=(0,), snares=(1, 2))


def band(
    bpm: float,
    duration_s: float,
    first_s: float,
    *,
    meter: int,
    kicks: Sequence[int],
    snares: Sequence[int],
    jitter_s: float = 0.0,
) -> Signal:
    rng = np.random.default_rng(5)
    beat_s = 60 / bpm
    struck: list[tuple[float, Signal, float]] = []
    kick = _tone(60, 0.15, 25) + 0.3 * _tone(120, 0.15, 40)
    snare, hat = _noise(0.12, 30, seed=2), _noise(0.03, 120, seed=3, bright=True)
    for beat in range(int((duration_s - first_s) / beat_s)):
        at_s = first_s + beat * beat_s
        bar, place = divmod(beat, meter)
        root_hz = (65.4, 87.3, 98.0, 55.0)[bar % 4]
        if place in kicks:
            struck += [(at_s, kick, 0.9), (at_s, _tone(root_hz, beat_s * 1.8, 1.5), 0.4)]
        if place == 0:
            chord = sum(_tone(root_hz * ratio, beat_s * meter, 0.7) for ratio in (4, 5, 6))
            struck.append((at_s, np.asarray(chord, np.float32), 0.2))
        if place in snares:
            struck.append((at_s, snare, 0.4))
        struck += [(at_s + half * beat_s, hat, 0.25) for half in (0, 0.5)]
    late_s = rng.normal(0, jitter_s, len(struck)) if jitter_s else np.zeros(len(struck))
    return _placed(
        duration_s,
        [(at_s + off_s, sound, gain) for (at_s, sound, gain), off_s in zip(struck, late_s, strict=True)],
    )


def speech_like(duration_s: float) -> Signal:
    """Buzzing syllables of uneven length with pauses between them."""
    rng = np.random.default_rng(8)
    signal, at_s = silence(duration_s), 0.0
    sounds: list[tuple[float, Signal, float]] = []
    while at_s < duration_s - 0.5:
        length_s = float(rng.uniform(0.06, 0.4))
        pitch_hz = float(rng.uniform(90, 160))
        buzz = sum(_tone(pitch_hz * n, length_s, 2) / n for n in range(1, 12))
        swell = np.hanning(len(np.asarray(buzz))).astype(np.float32)
        sounds.append((at_s, np.asarray(buzz, np.float32) * swell, float(rng.uniform(0.1, 0.4))))
        at_s += length_s + float(rng.choice((0.02, 0.05, 0.1, 0.3, 0.7)) * rng.uniform(0.6, 1.4))
    return signal + _placed(duration_s, sounds)


def _placed(duration_s: float, sounds: Sequence[tuple[float, Signal, float]]) -> Signal:
    signal = silence(duration_s)
    for at_s, sound, gain in sounds:
        start = max(0, round(at_s * RATE_HZ))
        part = sound[: max(0, len(signal) - start)]
        signal[start : start + len(part)] += gain * part
    return signal


def _tone(frequency_hz: float, duration_s: float, decay: float) -> Signal:
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    tone: Signal = (np.sin(2 * np.pi * frequency_hz * time_s) * np.exp(-decay * time_s)).astype(np.float32)
    return tone


def _noise(duration_s: float, decay: float, seed: int, *, bright: bool = False) -> Signal:
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(seed).standard_normal(len(time_s)) * np.exp(-decay * time_s)
    return (np.diff(noise, prepend=0) if bright else noise).astype(np.float32)
