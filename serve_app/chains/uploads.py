"""Uploads: a clip becomes a chain whose root it is."""

from __future__ import annotations

import asyncio

from configs.settings import UploadLimits
from deployments.audio.decode.isolated import DecodedAudio, DecodeLimits, decode_file
from deployments.audio.track import TrackReader
from deployments.stages.peaks import PeaksStage
from deployments.temporary import temporary_folder
from serve_app.access.audit import audited
from serve_app.access.quotas import Quotas, Usage
from serve_app.analysis.service import AnalysisService
from serve_app.chains.new_chains import NewChains
from serve_app.http.multipart import ReceivedUpload
from serve_app.jobs.idempotency import request_hash
from storage.domain import edits
from storage.domain.accounts import Amounts
from storage.domain.ids import derived_id
from storage.domain.model import Chain, Node, NodeAudio, NodeStatus, Origin
from storage.repositories.blobs import Blobs
from storage.repositories.chains import Chains
from storage.stores.clock import Clock, utc_now


class UploadService:
    """Decodes at most `limits.concurrent` clips at once."""

    def __init__(
        self,
        chains: Chains,
        new_chains: NewChains,
        blobs: Blobs,
        peaks: PeaksStage,
        analyses: AnalysisService,
        quotas: Quotas,
        limits: UploadLimits,
        clock: Clock = utc_now,
    ) -> None:
        self._chains = chains
        self._new_chains = new_chains
        self._blobs = blobs
        self._peaks = peaks
        self._analyses = analyses
        self.quotas = quotas
        self._limits = DecodeLimits.of(limits)
        self._clock = clock
        self._decoding = asyncio.Semaphore(limits.concurrent)

    async def upload(
        self, tenant: str, received: ReceivedUpload, title: str, key: str | None, usage: Usage
    ) -> Chain:
        """A chain whose root is an uploaded clip: decoded in a limited subprocess, the original kept, its analysis
        begun. `usage` counts what is uploaded and stored.

        Raises UnsupportedMedia and BadAudio for what is no such clip, IdempotencyMismatch, Conflict,
        TooManyRequests and Forbidden where the tenant may not store so much.
        """
        audited(sha256=received.sha256)
        usage.take(Amounts(upload_bytes=received.size_bytes))
        request_sha256 = request_hash({"file": received.sha256, "title": title})
        chain_id, earlier = await self._new_chains.name(tenant, key, request_sha256)
        if earlier is not None:
            return earlier
        with temporary_folder("upload") as folder:
            async with self._decoding:
                decoded = await decode_file(received.path, folder / "canonical.wav", self._limits)
            is_canonical = received.sha256 == decoded.sha256  # then both are one blob
            size_bytes = decoded.size_bytes + (0 if is_canonical else received.size_bytes)
            await usage.hold(Amounts(stored_bytes=size_bytes))
            audio = await self._keep(tenant, chain_id, received, decoded)
            usage.take(Amounts(stored_bytes=size_bytes))
            track = await asyncio.to_thread(TrackReader, decoded.path)
            await self._peaks.publish(tenant, audio, track.blocks())
        now = self._clock()
        root = Node(
            id=derived_id(chain_id, "root"),
            parent_id=None,
            origin=Origin.UPLOAD,
            created_at=now,
            status=NodeStatus.READY,
            duration_s=audio.duration_s,
            audio=audio,
        )
        audited(chain_id=chain_id)
        chain, _ = await self._chains.create(
            edits.new_chain(
                chain_id=chain_id,
                tenant=tenant,
                title=title,
                root=root,
                now=now,
                request_sha256=request_sha256,
            )
        )
        return await self._analyses.welcome(chain)

    async def _keep(
        self, tenant: str, chain_id: str, received: ReceivedUpload, decoded: DecodedAudio
    ) -> NodeAudio:
        owner = f"upload-{chain_id}"
        return NodeAudio(
            blob=await self._blobs.put_file(tenant, owner, decoded.path, decoded.sha256),
            samples=decoded.samples,
            sample_rate_hz=decoded.rate_hz,
            channels=decoded.channels,
            rms_dbfs=decoded.rms_dbfs,
            peak_dbfs=decoded.peak_dbfs,
            original=await self._blobs.put_file(tenant, owner, received.path, received.sha256),
            original_format=decoded.container.value,
            original_name=received.filename or None,
        )
