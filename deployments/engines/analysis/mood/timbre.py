"""What a clip sounds like from moment to moment: its spectrum in bands as ears hear them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft

from deployments.audio.samples import Samples
from deployments.engines.analysis.clip import LISTENING_RATE_HZ

WINDOW_SAMPLES = 2048
HOP_SAMPLES = 512
HOP_S = HOP_SAMPLES / LISTENING_RATE_HZ
BANDS = 24
LOWEST_HZ, HIGHEST_HZ = 30.0, 11_000.0

_BLOCK_FRAMES = 256
_FLOOR = 1e-10
_RANGE_DB = 80.0
_BINS = WINDOW_SAMPLES // 2 + 1
_BIN_HZ = LISTENING_RATE_HZ / WINDOW_SAMPLES

_Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Timbre:
    """A row or number for each frame, one every `HOP_S`.

    `bands_db` is [frames, 24]: powers in bands of equal width on the mel scale from 30 Hz to 11 kHz, full
    scale 0, never more than 80 dB under the clip's loudest. `rise` is [frames, 24] too: by how many decibels
    each band has risen since the frame before, 0 where it fell. `centroid_hz` and `rolloff_hz` (below which
    85 % of the power is) say how bright it is, `flatness` (0..1) how noisy.
    """

    bands_db: _Values
    rise: _Values
    centroid_hz: _Values
    rolloff_hz: _Values
    flatness: _Values

    @property
    def frames(self) -> int:
        return len(self.bands_db)

    @property
    def level_db(self) -> _Values:
        """[frames]: of all bands together."""
        levels: _Values = 10.0 * np.log10(np.maximum((10 ** (self.bands_db / 10.0)).sum(axis=1), _FLOOR))
        return levels


def describe_timbre(mono: Samples) -> Timbre:
    """Of float32 [samples] at 22.05 kHz, at least one."""
    half = WINDOW_SAMPLES // 2
    frames = 1 + max(0, mono.size - 1) // HOP_SAMPLES
    padded = np.pad(mono, (half, half + frames * HOP_SAMPLES - mono.size))
    windows = sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]
    window = np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)
    window /= window.sum() / 2
    rows = [
        _describe(rfft(windows[first : min(frames, first + _BLOCK_FRAMES)] * window, axis=1))
        for first in range(0, frames, _BLOCK_FRAMES)
    ]
    powers, centroid_hz, rolloff_hz, flatness = (np.concatenate(column) for column in zip(*rows, strict=True))
    bands_db = 10.0 * np.log10(np.maximum(powers, _FLOOR))
    bands_db = np.maximum(bands_db, bands_db.max() - _RANGE_DB).astype(np.float32)
    rise = np.maximum(np.diff(bands_db, axis=0, prepend=bands_db[:1]), 0.0)
    return Timbre(bands_db, rise, centroid_hz, rolloff_hz, flatness)


def _describe(spectra: npt.NDArray[np.complex64]) -> tuple[_Values, _Values, _Values, _Values]:
    powers = np.square(spectra.real) + np.square(spectra.imag)
    heard = powers[:, 3:]
    total = np.maximum(heard.sum(axis=1), np.float32(_FLOOR))
    bins = np.arange(3, _BINS, dtype=np.float32)
    centroid = (heard @ bins) / total
    rolloff = 3 + (np.cumsum(heard, axis=1) < 0.85 * total[:, None]).sum(axis=1)
    safe = np.maximum(heard, np.float32(1e-12))
    flatness = np.exp(np.log(safe).mean(axis=1)) / safe.mean(axis=1)
    return (
        powers @ _mel_bands(),
        (centroid * np.float32(_BIN_HZ)).astype(np.float32),
        (np.minimum(rolloff, _BINS) * _BIN_HZ).astype(np.float32),
        flatness.astype(np.float32),
    )


@cache
def _mel_bands() -> _Values:
    """float32 [bins, bands], triangles."""
    mel = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), BANDS + 2)
    edges_hz = 700.0 * (np.exp(mel / 1127.0) - 1.0)
    bins_hz = np.arange(_BINS)[:, None] * _BIN_HZ
    up = (bins_hz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    down = (edges_hz[2:] - bins_hz) / (edges_hz[2:] - edges_hz[1:-1])
    return np.maximum(np.minimum(up, down), 0.0).astype(np.float32)


def _mel(frequency_hz: float) -> float:
    return float(1127.0 * np.log1p(frequency_hz / 700.0))
