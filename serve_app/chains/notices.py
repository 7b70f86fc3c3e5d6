"""What a client should know of work that was accepted, although nothing is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence

from deployments.stages.generate import CONDITIONED_ON_AUDIO
from serve_app.system.models import ServedGenerators
from storage.domain.jobs import Job
from storage.domain.model import Chain, Node


def cancelled_notices(nodes: Sequence[Node]) -> list[str]:
    """One sentence where discarded takes come back whose work was cancelled with them."""
    if not nodes:
        return []
    takes = "1 take was" if len(nodes) == 1 else f"{len(nodes)} takes were"
    return [
        f"{takes} cancelled when discarded, and nothing goes on by itself: ask again with the same seed for the "
        "same audio."
    ]


def channel_notices(chain: Chain, jobs: Sequence[Job], models: ServedGenerators) -> list[str]:
    """One sentence where a chain in stereo is continued by a model with one channel."""
    audio_modes = {mode.value for mode in CONDITIONED_ON_AUDIO}
    mono = {entry.name for entry in models.entries if entry.channels == 1}
    params = [chain.node(str(job.node_id)).params for job in jobs]
    names = {str(each["model"]) for each in params if each["mode"] in audio_modes and each["model"] in mono}
    if chain.channels != 2:
        return []
    return [
        f"The model {name} is mono: it gets both channels of this stereo clip mixed into one, and its takes have "
        "the same sound in both."
        for name in sorted(names)
    ]
