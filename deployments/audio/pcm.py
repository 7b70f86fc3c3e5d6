"""Samples as bare bytes, for who wants no file around them."""

from __future__ import annotations

import numpy as np

L16_BYTES = 2
_FULL_SCALE = 2**15


def l16(interleaved: bytes) -> bytes:
    """float32 little-endian samples as 16-bit big-endian ones (RFC 2586): rounded, and kept inside full scale."""
    scaled = np.rint(np.frombuffer(interleaved, dtype="<f4") * np.float32(_FULL_SCALE))
    return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(">i2").tobytes()
