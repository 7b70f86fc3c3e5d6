"""Crops: nodes that are a part of another node's audio, beside it in the tree.

Nothing is copied: a crop names the other's blob and a range of its samples. What continues from the other node
stays below it, with the context it was made from. Pure, as `edits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from storage.domain.edits import require_alive
from storage.domain.history import recorded
from storage.domain.model import (
    Action,
    Chain,
    CroppedFrom,
    Decision,
    Excerpt,
    Node,
    NodeAudio,
    NodeStatus,
    Origin,
    Refused,
)

MIN_CROP_S = 0.1


def require_croppable(node: Node) -> NodeAudio:
    """The audio of a node that can be cropped. Raises Refused for one that is not ready, or discarded."""
    if node.audio is None or not node.can_be_branched:
        state = node.decision if node.decision is Decision.DISCARDED else node.status
        raise Refused(f"node {node.id} is {state}: only a ready node that is not discarded can be cropped")
    return node.audio


def cropped(
    node_id: str,
    source: Node,
    first_sample: int,
    samples: int,
    *,
    sha256: str,
    rms_dbfs: float,
    peak_dbfs: float,
    now: datetime,
) -> Node:
    """A crop of `source`, a candidate: `samples` frames of its audio from `first_sample` on. Hash and levels are
    those of the part.

    The lead-in renders the end of the parent's sound up to the source's first sample, so it goes along only with
    that. Raises Refused, as `require_croppable`; ValueError for a range that is not inside.
    """
    whole = require_croppable(source)
    if first_sample < 0 or samples < 1 or first_sample + samples > whole.samples:
        raise ValueError(f"{samples} samples from {first_sample} on are not inside {whole.samples}")
    blob_samples = whole.samples if whole.excerpt is None else whole.excerpt.blob_samples
    audio = replace(
        whole,
        samples=samples,
        rms_dbfs=rms_dbfs,
        peak_dbfs=peak_dbfs,
        lead_in=whole.lead_in if first_sample == 0 else None,
        original=None,
        original_format=None,
        original_name=None,
        excerpt=Excerpt(whole.first_sample + first_sample, blob_samples, sha256),
    )
    return Node(
        id=node_id,
        parent_id=source.parent_id,
        origin=Origin.CROP,
        created_at=now,
        status=NodeStatus.READY,
        duration_s=audio.duration_s,
        prompt=source.prompt,
        params=source.params,
        seed=source.seed,
        take=source.take,
        audio=audio,
        provenance=_provenance(source, whole, first_sample, samples),
        cropped_from=CroppedFrom(source.id, first_sample, samples),
    )


def crop(chain: Chain, crop: Node, now: datetime) -> Chain:
    """A musician's crop, which can be undone: else as `add_crop`."""
    return recorded(chain, add_crop(chain, crop, now), Action.CROP, crop.id, now)


def add_crop(chain: Chain, crop: Node, now: datetime) -> Chain:
    """Put a crop beside the node it is cut from, as a request for takes needs it. Idempotent by id.

    Raises Refused where the other cannot be cropped (any more), NodeNotFound, ChainDeleted.
    """
    require_alive(chain)
    if crop.cropped_from is None:
        raise ValueError(f"node {crop.id} is no crop")
    if chain.find(crop.id) is not None:
        return chain
    require_croppable(chain.node(crop.cropped_from.node_id))
    version = chain.version + 1
    return replace(
        chain, version=version, updated_at=now, nodes=(*chain.nodes, replace(crop, changed_version=version))
    )


def find_crop(chain: Chain, cropped_from: CroppedFrom) -> Node | None:
    """A crop of just this range that is not discarded."""
    return next(
        (
            node
            for node in chain.nodes
            if node.cropped_from == cropped_from and node.decision is not Decision.DISCARDED
        ),
        None,
    )


def _provenance(source: Node, whole: NodeAudio, first_sample: int, samples: int) -> Mapping[str, Any]:
    """What made the source, and which part of it this is."""
    rate_hz = whole.sample_rate_hz
    uploaded = {} if whole.original is None else {"original_sha256": whole.original.sha256}
    return {
        **(source.provenance or {}),
        **uploaded,
        "crop": {
            "node_id": source.id,
            "audio_sha256": whole.sha256,
            "from_s": first_sample / rate_hz,
            "to_s": (first_sample + samples) / rate_hz,
            "first_sample": first_sample,
            "samples": samples,
        },
    }
