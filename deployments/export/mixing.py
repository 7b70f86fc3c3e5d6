"""A line mixed anew from its stems, each with a gain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from deployments.audio.samples import Samples
from deployments.audio.track import BLOCK_SAMPLES, TrackReader


def remixed(
    line: TrackReader,
    stems: Mapping[str, TrackReader],
    gains_db: Mapping[str, float],
    powers: Mapping[str, float],
) -> Iterator[Samples]:
    """Block by block: the stems that are named, each with its gain; the others are left out.

    `stems` are all that make up the line, as long as it; `powers` is how much of it each is, in any unit. Around
    the seams, where the line is crossfaded and the stems are not, they differ: what is missing there is added with
    the gain that the mix has on the whole. So all stems with one gain are the line with that gain, to the last bit.
    """
    gains = {name: 10.0 ** (gains_db[name] / 20.0) if name in gains_db else 0.0 for name in stems}
    total = sum(powers[name] for name in stems)
    if len(set(gains.values())) == 1:
        overall = next(iter(gains.values()))
    elif total > 0.0:
        overall = sum(gains[name] * powers[name] for name in stems) / total
    else:
        overall = sum(gains.values()) / len(gains)
    for start in range(0, line.samples, BLOCK_SAMPLES):
        count = min(BLOCK_SAMPLES, line.samples - start)
        mixed = line.read(start, count).astype(np.float64) * overall
        for name, stem in stems.items():
            if gains[name] != overall:
                mixed += stem.read(start, count).astype(np.float64) * (gains[name] - overall)
        yield mixed.astype(np.float32)
