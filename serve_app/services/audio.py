"""A ready node's own sound: as stored, or encoded on demand and kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from deployments.export.plan import AudioFormat, EncodePlan
from deployments.stages.export import ExportStage, FrozenLine
from serve_app.problems import Conflict
from storage.blobs import Blobs
from storage.chain.model import BlobRef, Node

CONCURRENT_ENCODINGS = 2


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A blob as a download."""

    ref: BlobRef
    media_type: str
    filename: str


class AudioService:
    def __init__(self, blobs: Blobs, stage: ExportStage) -> None:
        self._blobs = blobs
        self._stage = stage
        self._encoding = asyncio.Semaphore(CONCURRENT_ENCODINGS)

    async def file(self, tenant: str, node: Node, audio_format: AudioFormat) -> AudioFile:
        """The node's audio: the stored float WAV itself, or FLAC or MP3 made of it. Raises Conflict if the
        node has no audio."""
        if node.audio is None:
            raise Conflict(f"node {node.id} is {node.status}: it has no audio")
        filename = f"{node.id}{audio_format.suffix}"
        if audio_format is AudioFormat.WAV:
            return AudioFile(node.audio.blob, audio_format.mime_type, filename)
        alone = FrozenLine((replace(node.audio, lead_in=None),))
        encode = EncodePlan(audio_format, node.audio.sample_rate_hz, node.audio.channels)
        async with self._encoding:
            export = await self._stage.run(tenant, alone, encode, filename)
        return AudioFile(export.blob, export.media_type, filename)

    async def original(self, tenant: str, node: Node) -> AudioFile:
        """The file as it was uploaded. Raises Conflict if the node was not."""
        if node.audio is None or node.audio.original is None or node.audio.original_format is None:
            raise Conflict(f"node {node.id} was not uploaded")
        suffix = node.audio.original_format
        return AudioFile(node.audio.original, "application/octet-stream", f"{node.id}-original.{suffix}")

    async def read(self, tenant: str, file: AudioFile, start: int, length: int) -> bytes:
        """Raises BlobCorrupt."""
        return await self._blobs.read(tenant, file.ref, start, length)
