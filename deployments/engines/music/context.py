"""What a take of MusicGen can hear of its context."""

from __future__ import annotations

import numpy as np

from deployments.audio.samples import Samples
from deployments.engines.common.errors import BadRequest
from deployments.engines.music.protocol import GenerationMode, GenerationRequest

_LISTENING = (GenerationMode.CONTINUE, GenerationMode.MELODY)


def audible_context(request: GenerationRequest, *, hop_samples: int, window_frames: int) -> Samples | None:
    """The context's end, float32 [channels, whole frames]; it leaves at least one frame of the window.

    None where the mode takes none or there is less than a frame of it. Raises BadRequest for a melody that is
    as short as that.
    """
    if request.mode not in _LISTENING or request.context is None:
        return None
    frames = min(request.context.shape[1] // hop_samples, window_frames - 1)
    if frames == 0:
        if request.mode is GenerationMode.MELODY:
            raise BadRequest(f"a melody needs at least {hop_samples} samples of context")
        return None
    return np.array(request.context[:, -frames * hop_samples :], np.float32)
