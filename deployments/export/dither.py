"""The last step to 16 bits: triangular dither, and only where it is needed.

What is 16-bit already, as the untouched parts of an upload are, keeps every bit. 24 bits and floats need no dither.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deployments.audio.samples import Samples
from deployments.audio.track import BLOCK_SAMPLES, TrackReader, TrackWriter

STRETCH_SAMPLES = 4096
"""Dither is decided on for stretches of this length, all channels together."""

_FULL_SCALE = 2.0**15
_SEED = 0x5E60E


def dither_track(source: Path, target: Path) -> int:
    """Write the float32 WAV `source` as `target`, every sample on the grid of 16 bits and inside full scale, so
    that any program converts it without a change. Returns how many samples were over full scale and cut.

    Equal sources give equal files. Raises NotOurWav, OSError.
    """
    track = TrackReader(source)
    cut = 0
    with TrackWriter(target, track.rate_hz, track.channels) as writer:
        for index, block in enumerate(track.blocks(BLOCK_SAMPLES)):
            dithered, over = _dithered(block, index)
            cut += over
            writer.append(dithered)
    return cut


def _dithered(block: Samples, index: int) -> tuple[Samples, int]:
    scaled = block.astype(np.float64) * _FULL_SCALE
    rounded = np.rint(scaled)
    off_grid = np.any(rounded != scaled, axis=0)
    firsts = np.arange(0, block.shape[1], STRETCH_SAMPLES)
    changed = np.logical_or.reduceat(off_grid, firsts).repeat(STRETCH_SAMPLES)[: block.shape[1]]
    if changed.any():
        # By the block, so that each block's noise is the same whatever came before.
        random = np.random.default_rng((_SEED, index))
        noise = random.random(scaled.shape) - random.random(scaled.shape)
        rounded = np.where(changed, np.rint(scaled + noise), rounded)
    limited = np.clip(rounded, -_FULL_SCALE, _FULL_SCALE - 1)
    over = int(np.count_nonzero((scaled > _FULL_SCALE) | (scaled < -_FULL_SCALE)))
    return (limited / _FULL_SCALE).astype(np.float32), over
