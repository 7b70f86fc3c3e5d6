"""A clip as overlapping stretches."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from deployments.audio.samples import Samples


def centred_frames(samples: Samples, *, window_samples: int, hop_samples: int) -> Samples:
    """A view, [1 + samples // hop, window_samples], of float32 [samples]: frame k is around sample k * hop, with
    zeros before the beginning and after the end. `window_samples` is even."""
    half = window_samples // 2
    padded = np.pad(samples, (half, half + hop_samples))
    count = 1 + samples.size // hop_samples
    return sliding_window_view(padded, window_samples)[::hop_samples][:count]
