"""The end of a clip that is to be looped."""

from __future__ import annotations

import numpy as np

from deployments.audio.samples import Samples

TAIL_S = 0.3
"""How much longer than its loop a clip is."""


def fade_tail(samples: Samples, tail_samples: int) -> Samples:
    """The clip with its last `tail_samples` faded to nothing, by a quarter of a cosine.

    A player that starts the clip anew where the tail begins, and lets the tail ring out over the beginning,
    loops it without a click.
    """
    if tail_samples <= 0:
        return samples
    faded = samples.copy()
    length = min(tail_samples, samples.shape[1])
    faded[:, -length:] *= np.cos(np.linspace(0.0, np.pi / 2, length, dtype=np.float32))
    faded[:, -1] = 0.0
    return faded
