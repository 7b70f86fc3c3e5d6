"""PCM read without a decoder: the size of a sample is what the file's blocks say, whatever else its header says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from deployments.audio.decode.containers.layout import PcmCoding, PcmLayout
from deployments.audio.decode.window import Window

Block = npt.NDArray[np.float32]
"""float32 [samples, channels]."""

_BLOCK_SAMPLES = 32_768


def pcm_blocks(file: BinaryIO, layout: PcmLayout) -> Iterator[Block]:
    """Whole frames only, never empty. Integers are scaled by 1 / 2^(bits - 1), floats by their full scale."""
    window = Window(file, layout.span)
    while data := window.read(_BLOCK_SAMPLES * layout.frame_bytes):
        whole = len(data) // layout.frame_bytes * layout.frame_bytes
        if whole:
            yield _to_float(data[:whole], layout).reshape(-1, layout.channels)


def _to_float(data: bytes, layout: PcmLayout) -> Block:
    width, order = layout.width_bytes, layout.byte_order
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite and is refused
        match layout.coding:
            case PcmCoding.FLOAT:
                floats = np.frombuffer(data, f"{order}f{width}")
                return np.asarray(
                    floats / layout.full_scale if layout.full_scale != 1.0 else floats, np.float32
                )
            case PcmCoding.UNSIGNED:
                return np.asarray(
                    (np.frombuffer(data, np.uint8).astype(np.float32) - 128.0) / 128.0, np.float32
                )
            case PcmCoding.SIGNED:
                if width == 3:
                    data, width, order = _widened(data, order), 4, "<"
                integers = np.frombuffer(data, f"{order}i{width}")
                return np.asarray(integers.astype(np.float64) / 2.0 ** (8 * width - 1), np.float32)


def _widened(data: bytes, order: str) -> bytes:
    """24-bit integers as little-endian ones of 32 bits, whose lowest byte is 0."""
    packed = np.frombuffer(data, np.uint8).reshape(-1, 3)
    wide = np.zeros((len(packed), 4), np.uint8)
    wide[:, 1:] = packed if order == "<" else packed[:, ::-1]
    return wide.tobytes()
