"""Between the formats of chains and of engines: other rates, one channel or two."""

from __future__ import annotations

import numpy as np
import soxr

from deployments.audio.samples import Samples


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """float32 [channels, samples] at another rate: exactly round(samples * to_hz / from_hz) long, not delayed.

    libsoxr at its very high quality: linear phase, flat to 0.91 of the lower Nyquist frequency. The same array
    comes back where the rates are equal.
    """
    if from_hz == to_hz:
        return samples
    length = round(samples.shape[1] * to_hz / from_hz)
    if not length:
        return np.zeros((samples.shape[0], 0), dtype=np.float32)
    resampled: Samples = soxr.resample(np.ascontiguousarray(samples.T), from_hz, to_hz, quality="VHQ")[
        :length
    ]
    missing = length - resampled.shape[0]
    if missing:  # soxr rounds the length its own way
        resampled = np.pad(resampled, ((0, missing), (0, 0)), mode="edge" if len(resampled) else "constant")
    return np.ascontiguousarray(resampled.T, dtype=np.float32)


def to_channels(samples: Samples, channels: int) -> Samples:
    """float32 [channels, samples] with one channel or two: mono is doubled, stereo is averaged.

    The same array comes back where nothing changes. Raises ValueError for other numbers of channels.
    """
    match samples.shape[0], channels:
        case (1, 1) | (2, 2):
            return samples
        case (1, 2):
            return np.repeat(samples, 2, axis=0)
        case (2, 1):
            mono: Samples = samples.mean(axis=0, keepdims=True, dtype=np.float32)
            return mono
        case given, _:
            raise ValueError(f"cannot make {channels} channels of {given}: only 1 and 2 are known")
