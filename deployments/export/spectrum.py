"""What a track looks like from afar: an envelope or a spectrogram, a value for each column of a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.audio.track import TrackReader

FFT_SAMPLES = 4096
LOWEST_HZ, HIGHEST_HZ = 30.0, 16_000.0
FLOOR_DB = -90.0

_Column = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Envelope:
    """For each column the least and the greatest sample (of the mean of all channels), and the RMS."""

    low: _Column
    high: _Column
    rms: _Column


def envelope(track: TrackReader, columns: int) -> Envelope:
    """Of the whole track, which lies between the columns evenly; read block by block.

    Where there are more columns than samples, the ones between repeat the one before.
    """
    low, high = np.full(columns, np.inf, np.float32), np.full(columns, -np.inf, np.float32)
    energy, count = np.zeros(columns), np.zeros(columns, np.int64)
    start = 0
    for block in track.blocks():
        mono = block.mean(axis=0)
        column = np.arange(start, start + mono.size) * columns // track.samples
        firsts = np.flatnonzero(np.diff(column, prepend=-1))
        which = column[firsts]
        low[which] = np.minimum(low[which], np.minimum.reduceat(mono, firsts))
        high[which] = np.maximum(high[which], np.maximum.reduceat(mono, firsts))
        energy[which] += np.add.reduceat(np.square(mono, dtype=np.float64), firsts)
        count[which] += np.diff(firsts, append=mono.size)
        start += mono.size
    known = np.maximum.accumulate(np.where(count > 0, np.arange(columns), 0))
    rms = np.sqrt(energy[known] / np.maximum(1, count[known])).astype(np.float32)
    return Envelope(low[known], high[known], rms)


def spectrogram(track: TrackReader, columns: int, rows: int) -> npt.NDArray[np.float32]:
    """float32 [rows, columns], 0 for FLOOR_DB and less, 1 for a full-scale sine; the first row is the highest.

    Rows are evenly spaced in pitch from LOWEST_HZ to HIGHEST_HZ, or to half the rate if that is less. A row shows
    the loudest of its frequencies at the middle of the column.
    """
    window = np.hanning(FFT_SAMPLES + 1)[:-1]
    lower, upper = _row_bins(track.rate_hz, rows)
    picture = np.zeros((rows, columns), np.float32)
    for column in range(columns):
        middle = (2 * column + 1) * track.samples // (2 * columns)
        mono = track.read(middle - FFT_SAMPLES // 2, FFT_SAMPLES).mean(axis=0)
        magnitude = np.abs(np.fft.rfft(mono * window)) / (window.sum() / 2)
        loudest = np.maximum(magnitude[lower], magnitude[upper])
        wide = upper > lower + 1
        # `reduceat` over pairs (from, to): every other one is the maximum of a row's bins.
        pairs = np.stack([lower[wide], upper[wide]], axis=1).reshape(-1)
        if pairs.size:
            loudest[wide] = np.maximum.reduceat(magnitude, pairs)[::2]
        level_db = 20.0 * np.log10(np.maximum(loudest, 1e-9))
        picture[:, column] = np.clip(1.0 - level_db / FLOOR_DB, 0.0, 1.0)
    return picture


def _row_bins(rate_hz: int, rows: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The first and the last bin of each row, from the highest pitch down."""
    highest_hz = min(HIGHEST_HZ, rate_hz / 2)
    lowest_hz = min(LOWEST_HZ, highest_hz / 2)
    edges_hz = np.geomspace(lowest_hz, highest_hz, rows + 1)
    edges = np.clip(np.round(edges_hz * FFT_SAMPLES / rate_hz), 1, FFT_SAMPLES // 2).astype(np.int64)
    return edges[:-1][::-1].copy(), edges[1:][::-1].copy()
