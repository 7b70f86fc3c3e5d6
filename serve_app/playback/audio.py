"""Audio as stored, or encoded on demand and kept: a node's own, or a track made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from deployments.audio.samples import SoundFormat
from deployments.export.formats import format_named
from deployments.export.gain import downloaded_gain_db
from deployments.export.plan import download_options
from deployments.stages.export.order import plain_order
from deployments.stages.export.stage import ExportStage
from deployments.stages.frames import read_frames
from serve_app.http.problems import Conflict
from serve_app.playback.sample_file import SampleFile, SampleFormat
from storage.domain.model import BlobRef, Chain, Node, NodeAudio, Track
from storage.repositories.blobs import Blobs
from storage.repositories.exports import Export

CONCURRENT_ENCODINGS = 2
AS_STORED = "wav"
"""The format in which audio is stored, with 32-bit floats."""


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A blob as a download. `on_demand`: it may have been encoded only because it was asked for. `headers` tell
    what was done to the sound. Of a crop's WAV `part` is what is given of the blob, and `part_sha256` its hash."""

    ref: BlobRef
    media_type: str
    filename: str
    on_demand: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    part: SampleFile | None = None
    part_sha256: str | None = None

    @property
    def size_bytes(self) -> int:
        return self.ref.size_bytes if self.part is None else self.part.size_bytes

    @property
    def sha256(self) -> str:
        return self.part_sha256 or self.ref.sha256


class AudioService:
    """`link_expiry_s` None: every byte comes through this application."""

    def __init__(self, blobs: Blobs, stage: ExportStage, link_expiry_s: int | None = None) -> None:
        self._blobs = blobs
        self._stage = stage
        self._link_expiry_s = link_expiry_s
        self._encoding = asyncio.Semaphore(CONCURRENT_ENCODINGS)

    async def file(self, tenant: str, node: Node, audio_format: str, stem: str) -> AudioFile:
        """The node's audio: the stored float WAV itself, or another format made of it. `stem` is the download's
        name without its ending. What is over full scale is in the WAV alone: other formats get the gain that
        brings it inside, which `X-Segue-Gain-Db` tells. Raises Conflict if the node has no audio."""
        if node.audio is None:
            raise Conflict(f"node {node.id} is {node.status}: it has no audio")
        return await self._file(tenant, node.audio, stem, audio_format)

    async def track(self, tenant: str, track: Track, stem: str, audio_format: str) -> AudioFile:
        """A float WAV track itself, or another format made of it, as `file` does."""
        return await self._file(
            tenant,
            NodeAudio(
                blob=track.blob,
                samples=track.samples,
                sample_rate_hz=track.sample_rate_hz,
                channels=track.channels,
                rms_dbfs=track.rms_dbfs,
                peak_dbfs=track.peak_dbfs,
            ),
            stem,
            audio_format,
        )

    async def _file(self, tenant: str, audio: NodeAudio, stem: str, audio_format: str) -> AudioFile:
        form = format_named(audio_format)
        filename = f"{stem}{form.suffix}"
        if form.name == AS_STORED:
            if audio.excerpt is None:
                return AudioFile(audio.blob, form.mime_type, filename)
            part = self._part(tenant, audio)
            return AudioFile(audio.blob, form.mime_type, filename, part=part, part_sha256=audio.sha256)
        gain_db = downloaded_gain_db(audio.peak_dbfs)
        options = download_options(form.name, audio.sample_rate_hz, audio.channels, gain_db)
        alone = plain_order([replace(audio, lead_in=None)], options, filename)
        async with self._encoding:
            export = await self._stage.run(tenant, alone)
        headers = {"X-Segue-Gain-Db": f"{gain_db:.4f}"}
        return AudioFile(export.blob, export.media_type, filename, on_demand=True, headers=headers)

    def _part(self, tenant: str, audio: NodeAudio) -> SampleFile:
        """A crop as the WAV that is stored nowhere."""

        async def frames(start: int, count: int) -> bytes:
            return await read_frames(self._blobs, tenant, audio, start, count)

        sound = SoundFormat(audio.sample_rate_hz, audio.channels)
        return SampleFile(SampleFormat.WAV, sound, audio.samples, frames)

    async def original(self, tenant: str, node: Node) -> AudioFile:
        """The file as it was uploaded, under its own name. Raises Conflict if the node was not."""
        if node.audio is None or node.audio.original is None or node.audio.original_format is None:
            raise Conflict(f"node {node.id} was not uploaded")
        name = node.audio.original_name or f"{node.id}-original.{node.audio.original_format}"
        return AudioFile(node.audio.original, "application/octet-stream", name)

    async def link(self, tenant: str, file: AudioFile, content_disposition: str) -> str | None:
        """Where else a client gets the file: in the store itself; None where it gets it here.

        What is encoded on demand is answered here: its bytes are in this process's hands at that moment. So is a
        part of a blob: the store has no file of it.
        """
        if self._link_expiry_s is None or file.on_demand or file.part is not None:
            return None
        return await self._blobs.presigned_url(
            tenant,
            file.ref,
            expires_s=self._link_expiry_s,
            content_disposition=content_disposition,
            media_type=file.media_type,
        )

    async def read(self, tenant: str, file: AudioFile, start: int, length: int) -> bytes:
        """Raises BlobCorrupt."""
        if file.part is not None:
            return await file.part.read(start, length)
        return await self._blobs.read(tenant, file.ref, start, length)


def export_headers(export: Export) -> dict[str, str]:
    """What was lost at full scale: nothing, where `X-Segue-Clipped-Samples` is 0; and where the content credentials
    are that the file does not hold itself."""
    told = {"X-Segue-Clipped-Samples": export.clipped_samples, "X-Segue-Peak-Dbfs": export.peak_dbfs}
    beside = {"Link": f'</v1/exports/{export.id}/c2pa>; rel="c2pa-manifest"'}
    return (beside if export.manifest is not None else {}) | {
        name: f"{value:.2f}" if isinstance(value, float) else str(value)
        for name, value in told.items()
        if value is not None
    }


def file_stem(title: str, otherwise: str) -> str:
    """A title as a file name without its ending; `otherwise` if nothing of it can be one."""
    kept = "".join(letter if letter.isalnum() or letter in " -_." else "_" for letter in title)
    return kept.strip(" ._")[:100] or otherwise


def node_stem(chain: Chain, node_id: str) -> str:
    """What a node's downloads are called: the chain's title and the beginning of the node's id."""
    return f"{file_stem(chain.title, chain.id)}-{node_id[:8]}"
