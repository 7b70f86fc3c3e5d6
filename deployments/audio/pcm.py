"""Samples as bare bytes, for who wants no file around them: integers of 16, 24 or 32 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """Signed integers; -2^(bits - 1) is full scale."""

    bits: Literal[16, 24, 32]
    big_endian: bool = False

    @property
    def sample_bytes(self) -> int:
        return self.bits // 8


L16 = PcmFormat(16, big_endian=True)
"""`audio/L16` of RFC 2586."""

L16_BYTES = L16.sample_bytes


def encode_pcm(samples: Samples, form: PcmFormat) -> bytes:
    """float32 [channels, samples] interleaved: rounded to the nearest integer (halves to the even one), and kept
    inside full scale, so that 1.0 becomes the greatest integer. There is no dither. NaN becomes 0.

    What `decode_pcm` made of 16 or 24 bits becomes the same bytes again, and so does what it made of bytes that
    come from here; of other integers of 32 bits float32 keeps the first 24.
    """
    return _encode(samples.T.reshape(-1), form)


def decode_pcm(data: bytes, channels: int, form: PcmFormat) -> Samples:
    """float32 [channels, samples] within -1..1 of interleaved integers.

    Raises ValueError where the bytes are no whole number of samples in all channels.
    """
    frame_bytes = channels * form.sample_bytes
    if frame_bytes < 1 or len(data) % frame_bytes:
        raise ValueError(f"{len(data)} bytes are no whole samples of {form.bits} bits in {channels} channels")
    full_scale = np.float32(2.0 ** (form.bits - 1))
    interleaved = _integers(data, form).astype(np.float32) / full_scale
    return np.ascontiguousarray(interleaved.reshape(-1, channels).T)


def l16(interleaved: bytes) -> bytes:
    """float32 little-endian samples as 16-bit big-endian ones, as `encode_pcm` makes them."""
    return _encode(np.frombuffer(interleaved, dtype="<f4"), L16)


def _encode(samples: npt.NDArray[np.float32], form: PcmFormat) -> bytes:
    full_scale = 2.0 ** (form.bits - 1)
    rounded = np.rint(samples.astype(np.float64) * full_scale)
    integers: npt.NDArray[np.float64] = np.nan_to_num(np.clip(rounded, -full_scale, full_scale - 1), nan=0.0)
    if form.bits != 24:
        return integers.astype(_type(form.bits, form)).tobytes()
    four_bytes = integers.astype(_type(32, form)).view(np.uint8).reshape(-1, 4)
    return (four_bytes[:, 1:] if form.big_endian else four_bytes[:, :3]).tobytes()


def _integers(data: bytes, form: PcmFormat) -> npt.NDArray[np.signedinteger]:
    if form.bits != 24:
        return np.frombuffer(data, _type(form.bits, form))
    three_bytes = np.frombuffer(data, np.uint8).reshape(-1, 3)
    four_bytes = np.zeros((len(three_bytes), 4), np.uint8)
    if form.big_endian:
        four_bytes[:, :3] = three_bytes
    else:
        four_bytes[:, 1:] = three_bytes
    return four_bytes.view(_type(32, form)).reshape(-1) >> 8


def _type(bits: int, form: PcmFormat) -> str:
    return f"{'>' if form.big_endian else '<'}i{bits // 8}"
