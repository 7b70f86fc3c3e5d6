"""The last step to 16 bits of a whole track: `deployments.audio.dither`, from file to file.

What is 16-bit already, as the untouched parts of an upload are, keeps every bit. 24 bits and floats need no dither.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deployments.audio.dither import Dither16, Integers
from deployments.audio.samples import Samples
from deployments.audio.track import BLOCK_SAMPLES, TrackReader, TrackWriter

_FULL_SCALE = np.float32(2.0**15)


def dither_track(source: Path, target: Path) -> int:
    """Write the float32 WAV `source` as `target`, every sample on the grid of 16 bits and inside full scale, so
    that any program converts it without a change. Returns how many samples were over full scale and cut.

    Equal sources give equal files. Raises NotOurWav, OSError.
    """
    track = TrackReader(source)
    dither, cut = Dither16(track.channels), 0
    with TrackWriter(target, track.rate_hz, track.channels) as writer:
        for block in track.blocks(BLOCK_SAMPLES):
            cut += int(np.count_nonzero(np.abs(block) > 1.0))
            writer.append(_floats(dither.push(block)))
        writer.append(_floats(dither.finish()))
    return cut


def _floats(integers: Integers) -> Samples:
    floats: Samples = integers.astype(np.float32) / _FULL_SCALE
    return floats
