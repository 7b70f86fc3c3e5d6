"""Stretches of a node's own audio out of its blob, however long the node is: of a crop, out of its part of it."""

from __future__ import annotations

import numpy as np

from deployments.audio.samples import Samples
from deployments.audio.wav import BYTES_PER_SAMPLE, HEADER_BYTES
from storage.domain.model import NodeAudio
from storage.repositories.blobs import Blobs


async def read_frames(blobs: Blobs, tenant: str, audio: NodeAudio, start: int, count: int) -> bytes:
    """`count` frames from frame `start` of the node on: interleaved float32, little-endian.

    Raises BlobCorrupt, StoreError.
    """
    frame_bytes = audio.channels * BYTES_PER_SAMPLE
    offset = HEADER_BYTES + (audio.first_sample + start) * frame_bytes
    return await blobs.read(tenant, audio.blob, offset, count * frame_bytes)


async def read_samples(blobs: Blobs, tenant: str, audio: NodeAudio, start: int, count: int) -> Samples:
    """The same as float32 [channels, count]."""
    frames = np.frombuffer(await read_frames(blobs, tenant, audio, start, count), "<f4")
    return np.ascontiguousarray(frames.reshape(-1, audio.channels).T, dtype=np.float32)
