"""A signal made a few percent longer or shorter at its own pitch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples

PIECE_S = 0.060
OVERLAP_S = 0.015
REACH_S = 0.005
"""So far from where a piece is due it is looked for: what is heard there is off by no more than this."""

_Exact = npt.NDArray[np.float64]


def stretched(samples: Samples, stretch: float, count: int, rate_hz: int) -> Samples:
    """`count` samples, of which number n is what `samples` [channels, samples] has around n * stretch.

    Pieces of the signal as they are, joined by short crossfades where they are most alike (WSOLA: W. Verhelst and
    M. Roelands, ICASSP 1993), all channels at the same places. A piece goes on where the one before it ended as
    long as that is within 5 ms of where it is due, so that little is joined and what is struck is not struck twice.
    Past the signal's end there is silence. Nothing is changed at a stretch of 1.
    """
    if stretch == 1.0:
        return _padded(samples, count)
    piece, overlap, reach = (round(length_s * rate_hz) for length_s in (PIECE_S, OVERLAP_S, REACH_S))
    # Where a piece is due runs away from where pieces are read, so they are read ahead of it at first.
    behind, ahead = (reach // 4, reach) if stretch > 1.0 else (reach, reach // 4)
    overlap = max(2, overlap)
    needed = round((count + piece) * stretch) + piece + overlap + 2 * reach
    source = _padded(samples, needed).astype(np.float64)
    mono = source.mean(axis=0)
    made = np.zeros((samples.shape[0], count + piece + overlap))
    made[:, : piece + overlap] = source[:, : piece + overlap]
    rising = 0.5 - 0.5 * np.cos(np.pi * np.arange(1, overlap + 1) / (overlap + 1))
    at, offset = piece, 0  # the next piece begins at sample `at`; the one before it was read at `at + offset`
    while at < count:
        due = round(at * stretch)
        if abs(at + offset - due) > reach:
            offset = _most_alike(mono, at + offset, max(0, due - behind), due + ahead, overlap) - at
        read = at + offset
        following = source[:, read : read + piece + overlap]
        fade = made[:, at : at + overlap]
        fade += (following[:, :overlap] - fade) * rising
        made[:, at + overlap : at + overlap + piece] = following[:, overlap:]
        at += piece
    return made[:, :count].astype(np.float32)


def _most_alike(mono: _Exact, expected: int, first: int, last: int, overlap: int) -> int:
    """Of the places from `first` to `last` the one whose next samples are most like those at `expected`."""
    wanted = mono[expected : expected + overlap]
    there = mono[first : last + overlap]
    products = np.correlate(there, wanted, mode="valid")
    energies = np.convolve(np.square(there), np.ones(overlap), mode="valid")
    scale = np.sqrt(np.maximum(energies, 0.0) * float(wanted @ wanted)) + 1e-9
    return first + int(np.argmax(products / scale))


def _padded(samples: Samples, count: int) -> Samples:
    missing = max(0, count - samples.shape[1])
    return np.pad(samples[:, :count], ((0, 0), (0, missing)))
