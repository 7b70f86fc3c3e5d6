"""The outline of a waveform, as the server has it: audiowaveform's `.dat`, version 2, 8 bits."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from segue_client.answers import BadAnswer

_HEADER = struct.Struct("<iIiiIi")
_VERSION, _EIGHT_BITS = 2, 1


@dataclass(frozen=True, slots=True)
class Peaks:
    """`lows[channel][pixel]` and `highs[channel][pixel]` are -128..127, each of `samples_per_pixel` samples."""

    sample_rate_hz: int
    samples_per_pixel: int
    lows: tuple[tuple[int, ...], ...]
    highs: tuple[tuple[int, ...], ...]


def read_peaks(data: bytes) -> Peaks:
    """Raises BadAnswer for anything else."""
    if len(data) < _HEADER.size:
        raise BadAnswer("the server sent an outline that is cut short")
    version, flags, rate_hz, samples_per_pixel, length, channels = _HEADER.unpack_from(data)
    if (version, flags) != (_VERSION, _EIGHT_BITS) or len(data) != _HEADER.size + 2 * length * channels:
        raise BadAnswer("the server sent an outline that this client cannot read")
    values = memoryview(data)[_HEADER.size :].cast("b")
    step = 2 * channels
    return Peaks(
        rate_hz,
        samples_per_pixel,
        tuple(tuple(values[2 * channel :: step]) for channel in range(channels)),
        tuple(tuple(values[2 * channel + 1 :: step]) for channel in range(channels)),
    )
