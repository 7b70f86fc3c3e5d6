"""What a musician does with chains: upload, branch, commit, discard."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from configs.settings import JobSettings, UploadLimits
from deployments.audio.decode import DecodedAudio, DecodeLimits, decode_file
from deployments.engines.protocols import GenerationMode
from deployments.jobs.handlers import ensure_node, generate_params
from serve_app.multipart import ReceivedUpload
from serve_app.problems import Conflict
from serve_app.services.idempotency import Earlier, request_hash, request_id
from serve_app.services.jobs import JobService
from serve_app.services.models import ServedModels
from storage.blobs import Blobs
from storage.chain import edits
from storage.chain.ids import derived_id, random_id
from storage.chain.jobs import Job, JobKind
from storage.chain.model import (
    Chain,
    DomainError,
    Failure,
    Node,
    NodeAudio,
    NodeStatus,
    Origin,
)
from storage.chain.records import node_from_record
from storage.chain.seeds import SEED_COUNT, seed_of_take
from storage.chain.tree import subtree
from storage.chains import ChainPage, Chains
from storage.clock import Clock, utc_now


@dataclass(frozen=True, slots=True)
class BranchRequest:
    """Takes of one continuation, as a client asks for them. `seed` None: one is drawn and recorded."""

    prompt: str
    duration_s: float
    mode: GenerationMode
    prompt_duration_s: float
    cfg_coef: float
    temperature: float
    top_k: int
    top_p: float
    seed: int | None = None
    takes: int = 1
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Branched:
    """Accepted work: `jobs[i]` makes `nodes[i]`."""

    chain: Chain
    nodes: tuple[Node, ...]
    jobs: tuple[Job, ...]


class ChainService:
    def __init__(
        self,
        chains: Chains,
        blobs: Blobs,
        jobs: JobService,
        models: ServedModels,
        uploads: UploadLimits,
        job_settings: JobSettings,
        clock: Clock = utc_now,
    ) -> None:
        self._chains = chains
        self._blobs = blobs
        self._jobs = jobs
        self._models = models
        self._uploads = uploads
        self._ttl = timedelta(seconds=job_settings.idempotency_ttl_s)
        self._clock = clock
        self._decoding = asyncio.Semaphore(uploads.concurrent)

    # Reading

    async def read(self, tenant: str, chain_id: str) -> Chain:
        """Raises ChainNotFound."""
        return await self._chains.load(tenant, chain_id)

    async def page(self, tenant: str, cursor: str | None, limit: int) -> ChainPage:
        return await self._chains.page(tenant, cursor=cursor, limit=limit)

    # Making

    async def upload(self, tenant: str, received: ReceivedUpload, title: str, key: str | None) -> Chain:
        """A chain whose root is an uploaded clip: decoded in a limited subprocess, the original kept.

        Raises UnsupportedMedia and BadAudio for what is no such clip, IdempotencyMismatch, Conflict.
        """
        request_sha256 = request_hash({"file": received.sha256, "title": title})
        chain_id = await self._chain_id(tenant, key, request_sha256)
        earlier = await self._earlier(tenant, chain_id)
        if earlier is not None:
            return earlier
        with tempfile.TemporaryDirectory(prefix="segue-upload-") as folder:
            async with self._decoding:
                decoded = await decode_file(received.path, Path(folder, "canonical.wav"), self._limits())
            audio = await self._keep_upload(tenant, chain_id, received, decoded)
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
        return chain

    async def generate_root(
        self, tenant: str, title: str, wanted: BranchRequest, key: str | None
    ) -> Branched:
        """A chain whose root is generated from a text prompt alone."""
        model = self._models.choose(wanted.model, wanted.mode).name
        body = {"title": title, **_body(wanted)}
        request_sha256 = request_hash(body)
        chain_id = await self._chain_id(tenant, key, request_sha256)
        job_id = derived_id(chain_id, "root-job")
        earlier_chain, earlier_job = (
            await self._earlier(tenant, chain_id),
            await self._jobs.find(tenant, job_id),
        )
        if earlier_chain is not None and earlier_job is not None:
            return Branched(earlier_chain, (earlier_chain.node(earlier_chain.root_id),), (earlier_job,))
        if earlier_job is None:
            await self._jobs.require_room(tenant, 1)
        seed = _first_seed(wanted.seed, chain_id if key is not None else None)
        node = self._pending(wanted, model, derived_id(chain_id, "root"), None, job_id, seed, 0)
        job = self._job(tenant, job_id, request_sha256, generate_params(chain_id, node, title))
        jobs = await self._jobs.accept([job])
        _require_unfinished(jobs, earlier_chain)
        chain = await ensure_node(self._chains, jobs[0], _node_of(jobs[0]))
        await self._jobs.end_cancelled(jobs)
        self._jobs.push(jobs)
        return Branched(chain, (chain.node(node.id),), tuple(jobs))

    async def branch(
        self,
        tenant: str,
        chain_id: str,
        parent_id: str,
        wanted: BranchRequest,
        key: str | None,
    ) -> Branched:
        """Ask for takes that go on from `parent_id`.

        The records are durable before this returns; a repeated request with the same key finds them. Raises
        ChainNotFound, NodeNotFound, Refused if the parent cannot be branched from, Unprocessable,
        IdempotencyMismatch, TooManyRequests.
        """
        model = self._models.choose(wanted.model, wanted.mode).name
        request_sha256 = request_hash({"chain": chain_id, "parent": parent_id, **_body(wanted)})
        batch_id = await request_id(
            tenant=tenant,
            route=f"branch/{chain_id}",
            key=key,
            request_sha256=request_sha256,
            find=lambda candidate: self._earlier_branch(tenant, candidate),
            ttl=self._ttl,
            now=self._clock(),
        )
        jobs = await self._accept_takes(
            tenant, chain_id, parent_id, wanted, model, batch_id, request_sha256, key
        )
        nodes = [_node_of(job) for job in jobs]
        if any(job.state.is_finished for job in jobs):
            _require_unfinished(jobs, await self._chains.load(tenant, chain_id))
        try:
            chain = await self._chains.change(
                tenant, chain_id, lambda chain, now: edits.add_nodes(chain, nodes, now)
            )
        except DomainError as error:
            await self._jobs.refuse(jobs, Failure("conflict", str(error)))
            raise
        await self._jobs.end_cancelled(jobs)
        self._jobs.push(jobs)
        return Branched(chain, tuple(chain.node(node.id) for node in nodes), tuple(jobs))

    # Deciding

    async def commit(self, tenant: str, chain_id: str, node_id: str) -> Chain:
        """Raises Refused, ChainNotFound, NodeNotFound."""
        return await self._chains.change(
            tenant, chain_id, lambda chain, now: edits.commit(chain, node_id, now)
        )

    async def discard(self, tenant: str, chain_id: str, node_id: str) -> Chain:
        """Raises Refused, ChainNotFound, NodeNotFound."""
        chain = await self._chains.change(
            tenant, chain_id, lambda chain, now: edits.discard(chain, node_id, now)
        )
        await self._cancel_jobs_of(tenant, subtree(chain, node_id))
        return chain

    async def rename(self, tenant: str, chain_id: str, title: str) -> Chain:
        """Raises ChainNotFound."""
        return await self._chains.change(tenant, chain_id, lambda chain, now: edits.rename(chain, title, now))

    async def delete(self, tenant: str, chain_id: str) -> None:
        """Raises ChainNotFound, the second time too."""
        chain = await self._chains.load(tenant, chain_id)
        await self._chains.delete(tenant, chain_id)
        await self._cancel_jobs_of(tenant, [node for node in chain.nodes if not node.status.is_finished])

    # Parts

    async def _cancel_jobs_of(self, tenant: str, nodes: Sequence[Node]) -> None:
        for node in nodes:
            if node.job_id is not None and node.status in (
                NodeStatus.CANCELLED,
                NodeStatus.PENDING,
                NodeStatus.RUNNING,
            ):
                await self._jobs.signal_cancel(tenant, node.job_id)

    async def _accept_takes(
        self,
        tenant: str,
        chain_id: str,
        parent_id: str,
        wanted: BranchRequest,
        model: str,
        batch_id: str,
        request_sha256: str,
        key: str | None,
    ) -> list[Job]:
        """The takes' job records, durable. Those of a repeated request are found, not made."""
        job_ids = [derived_id(batch_id, "take", str(take)) for take in range(wanted.takes)]
        if await self._jobs.find(tenant, job_ids[0]) is None:
            # Look before anything is written: most refusals leave no trace at all.
            chain = await self._chains.load(tenant, chain_id)
            edits.add_nodes(chain, [_probe(parent_id, self._clock())], self._clock())
            await self._jobs.require_room(tenant, wanted.takes)
        seed = _first_seed(wanted.seed, batch_id if key is not None else None)
        return await self._jobs.accept(
            [
                self._job(
                    tenant,
                    job_id,
                    request_sha256,
                    generate_params(
                        chain_id,
                        self._pending(
                            wanted, model, derived_id(job_id, "node"), parent_id, job_id, seed, take
                        ),
                    ),
                )
                for take, job_id in enumerate(job_ids)
            ]
        )

    async def _earlier_branch(self, tenant: str, batch_id: str) -> Earlier | None:
        job = await self._jobs.find(tenant, derived_id(batch_id, "take", "0"))
        return Earlier(job.request_sha256, job.created_at) if job is not None else None

    async def _chain_id(self, tenant: str, key: str | None, request_sha256: str) -> str:
        async def find(candidate: str) -> Earlier | None:
            chain = await self._chains.find(tenant, candidate)
            return Earlier(chain.request_sha256, chain.created_at) if chain is not None else None

        return await request_id(
            tenant=tenant,
            route="chains",
            key=key,
            request_sha256=request_sha256,
            find=find,
            ttl=self._ttl,
            now=self._clock(),
        )

    async def _earlier(self, tenant: str, chain_id: str) -> Chain | None:
        chain = await self._chains.find(tenant, chain_id)
        if chain is not None and chain.deleted_at is not None:
            raise Conflict("the chain that this Idempotency-Key made was deleted; use a new key")
        return chain

    def _pending(
        self,
        wanted: BranchRequest,
        model: str,
        node_id: str,
        parent_id: str | None,
        job_id: str,
        seed: int,
        take: int,
    ) -> Node:
        return Node(
            id=node_id,
            parent_id=parent_id,
            origin=Origin.GENERATION,
            created_at=self._clock(),
            duration_s=wanted.duration_s,
            prompt=wanted.prompt,
            params={
                "mode": wanted.mode.value,
                "prompt_duration_s": wanted.prompt_duration_s,
                "cfg_coef": wanted.cfg_coef,
                "temperature": wanted.temperature,
                "top_k": wanted.top_k,
                "top_p": wanted.top_p,
                "model": model,
            },
            seed=seed_of_take(seed, take),
            take=take,
            job_id=job_id,
        )

    def _job(self, tenant: str, job_id: str, request_sha256: str, params: dict[str, Any]) -> Job:
        now = self._clock()
        return Job(
            id=job_id,
            kind=JobKind.GENERATE,
            tenant=tenant,
            created_at=now,
            updated_at=now,
            request_sha256=request_sha256,
            params=params,
        )

    async def _keep_upload(
        self,
        tenant: str,
        chain_id: str,
        received: ReceivedUpload,
        decoded: DecodedAudio,
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
        )

    def _limits(self) -> DecodeLimits:
        uploads = self._uploads
        return DecodeLimits(
            timeout_s=uploads.decode_timeout_s,
            memory_bytes=uploads.decode_memory_bytes,
            max_duration_s=uploads.max_duration_s,
            min_duration_s=uploads.min_duration_s,
            max_channels=uploads.max_channels,
            min_rate_hz=uploads.min_rate_hz,
            max_rate_hz=uploads.max_rate_hz,
        )


def _body(wanted: BranchRequest) -> dict[str, Any]:
    """What makes two requests the same request."""
    return asdict(wanted)


def _node_of(job: Job) -> Node:
    return node_from_record(job.params["node"])


def _require_unfinished(jobs: Sequence[Job], chain: Chain | None) -> None:
    """Raises Conflict for a job that ended before its node came into the chain, as only a request that was
    broken off leaves one: nobody would ever work on that node."""
    for job in jobs:
        if job.state.is_finished and (chain is None or chain.find(str(job.node_id)) is None):
            reason = f": {job.error.detail}" if job.error is not None else ""
            raise Conflict(f"the work of this Idempotency-Key ended ({job.state}{reason}); use a new key")


def _probe(parent_id: str, now: datetime) -> Node:
    """A node that is never kept: adding it tells whether its parent can be branched from."""
    return Node(id=random_id(), parent_id=parent_id, origin=Origin.GENERATION, created_at=now)


def _first_seed(asked: int | None, key_id: str | None) -> int:
    """The seed asked for; else one drawn, or, for a request with a key, derived, so that a repetition of a
    request that was half accepted goes on with the same one."""
    if asked is not None:
        return asked
    return int(derived_id(key_id, "seed")[:8], 16) if key_id is not None else secrets.randbelow(SEED_COUNT)
