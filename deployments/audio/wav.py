"""The one form in which audio is stored: WAV with 32-bit floats.

RIFF with a `fmt ` chunk (tag 3, IEEE float), the `fact` chunk that the tag asks for, and `data`. There is no
other chunk, so equal samples are equal bytes. (Microsoft, "Multiple Channel Audio Data and WAVE Files")
"""

from __future__ import annotations

import struct

import numpy as np

from deployments.audio.samples import Samples, SoundFormat

HEADER = struct.Struct("<4sI4s 4sIHHIIHHH 4sII 4sI")
HEADER_BYTES = HEADER.size
BYTES_PER_SAMPLE = 4
MAX_DATA_BYTES = 0xFFFFFFFF - HEADER_BYTES
"""RIFF counts its bytes with 32 bits."""

_MAX_FRAME_BYTES, _MAX_BYTES_PER_S = 0xFFFF, 0xFFFFFFFF

_FLOAT_TAG = 3
_FMT_BYTES, _FACT_BYTES, _RIFF_ID_AND_SIZE_BYTES = 18, 4, 8


class NotOurWav(ValueError):
    """The bytes are not a WAV as `encode_wav` writes it."""


def wav_header(samples: int, channels: int, rate_hz: int) -> bytes:
    """What stands before the interleaved float32 little-endian samples (`samples` per channel).

    Raises ValueError if the file would be larger than RIFF can say, or a second of it, or a frame.
    """
    frame_bytes = channels * BYTES_PER_SAMPLE
    data_bytes = samples * frame_bytes
    if data_bytes > MAX_DATA_BYTES:
        raise ValueError(f"{samples} samples in {channels} channels are more than a WAV can hold")
    if frame_bytes > _MAX_FRAME_BYTES or rate_hz * frame_bytes > _MAX_BYTES_PER_S:
        raise ValueError(f"{channels} channels at {rate_hz} Hz are more than a WAV can say")
    return HEADER.pack(*_header_fields(samples, channels, rate_hz))


def _header_fields(samples: int, channels: int, rate_hz: int) -> tuple[bytes | int, ...]:
    """What the header says, whether or not there is room for such numbers in it."""
    frame_bytes = channels * BYTES_PER_SAMPLE
    data_bytes = samples * frame_bytes
    return (
        *(b"RIFF", HEADER_BYTES - _RIFF_ID_AND_SIZE_BYTES + data_bytes, b"WAVE"),
        *(b"fmt ", _FMT_BYTES, _FLOAT_TAG, channels, rate_hz, rate_hz * frame_bytes, frame_bytes),
        *(8 * BYTES_PER_SAMPLE, 0),
        *(b"fact", _FACT_BYTES, samples),
        *(b"data", data_bytes),
    )


def encode_wav(samples: Samples, rate_hz: int) -> bytes:
    """float32 [channels, samples] as a WAV file, every bit of every sample kept."""
    channels, length = samples.shape
    interleaved = np.ascontiguousarray(samples.T, dtype="<f4")
    return wav_header(length, channels, rate_hz) + interleaved.tobytes()


def decode_wav(data: bytes) -> tuple[Samples, int]:
    """(float32 [channels, samples], rate_hz) of a file that `encode_wav` wrote.

    Raises NotOurWav for anything else, also for other kinds of WAV and for a file cut short.
    """
    sound, interleaved = unpack_wav(data)
    frames = np.frombuffer(interleaved, dtype="<f4").reshape(-1, sound.channels)
    return np.ascontiguousarray(frames.T, dtype=np.float32), sound.rate_hz


def unpack_wav(data: bytes) -> tuple[SoundFormat, memoryview]:
    """The format, and the interleaved samples as they stand in the file. Raises NotOurWav, as `decode_wav`."""
    sound, data_bytes = read_header(data)
    if len(data) != HEADER_BYTES + data_bytes:
        raise NotOurWav(
            f"the header announces {data_bytes} bytes of audio, {len(data) - HEADER_BYTES} follow"
        )
    return sound, memoryview(data)[HEADER_BYTES:]


def read_header(data: bytes) -> tuple[SoundFormat, int]:
    """The format, and how many bytes of samples follow, from the beginning of a file that `encode_wav` wrote.

    Raises NotOurWav.
    """
    if len(data) < HEADER_BYTES:
        raise NotOurWav(f"{len(data)} bytes are shorter than the header of a float32 WAV")
    fields = HEADER.unpack_from(data)
    channels, rate_hz, data_bytes = fields[6], fields[7], fields[-1]
    frame_bytes = channels * BYTES_PER_SAMPLE
    if not channels or not rate_hz or data_bytes % frame_bytes or data_bytes > MAX_DATA_BYTES:
        raise NotOurWav("not the header of a float32 WAV")
    if fields != _header_fields(data_bytes // frame_bytes, channels, rate_hz):
        raise NotOurWav("not the header of a float32 WAV")
    return SoundFormat(rate_hz, channels), data_bytes
