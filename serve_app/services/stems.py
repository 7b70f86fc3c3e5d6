"""Stems of nodes: asked for, found again, listened to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from configs.settings import JobSettings
from deployments.engines.separation.options import SeparationOptions
from deployments.jobs.stems import ensure_stems, stems_params
from serve_app.problems import Conflict, NotFound
from serve_app.services.idempotency import Earlier, request_hash, request_id
from serve_app.services.jobs import JobService
from serve_app.services.separators import ServedSeparators
from storage.chain import derivations
from storage.chain.jobs import Job, JobKind
from storage.chain.model import Chain, Derived, DerivedKind, DomainError, Failure, Node, NodeStatus, Track
from storage.chains import Chains
from storage.clock import Clock, utc_now


@dataclass(frozen=True, slots=True)
class StemsRequest:
    """`model` None: the default one."""

    model: str | None
    options: SeparationOptions


class StemsService:
    def __init__(
        self,
        chains: Chains,
        jobs: JobService,
        separators: ServedSeparators,
        settings: JobSettings,
        clock: Clock = utc_now,
    ) -> None:
        self._chains = chains
        self._jobs = jobs
        self._separators = separators
        self._ttl = timedelta(seconds=settings.idempotency_ttl_s)
        self._clock = clock

    async def start(
        self, tenant: str, chain_id: str, node_id: str, wanted: StemsRequest, key: str | None
    ) -> Job:
        """A job that separates the node, or that did it before: the same model and options are one job.

        Raises ChainNotFound, NodeNotFound, Refused for a node that is not ready or is discarded, Unprocessable,
        IdempotencyMismatch, TooManyRequests.
        """
        model = self._separators.choose(wanted.model, wanted.options).name
        params = stems_params(chain_id, node_id, model, wanted.options)
        request_sha256 = request_hash(params)
        job_id = await self._job_id(tenant, params, request_sha256, key)
        job = await self._jobs.find(tenant, job_id)
        if job is None:
            job = await self._accept(tenant, job_id, params, request_sha256)
        chain = await self._add(job)
        if derivations.find(chain, node_id, job.id).status.is_finished:
            return job
        self._jobs.push([job])
        return job

    async def read(self, tenant: str, chain_id: str, node_id: str) -> tuple[Node, tuple[Derived, ...]]:
        """The node and its stems, the oldest first. Raises ChainNotFound, NodeNotFound."""
        node = (await self._chains.load(tenant, chain_id)).node(node_id)
        return node, tuple(derived for derived in node.derived if derived.kind is DerivedKind.STEMS)

    async def stem(self, tenant: str, chain_id: str, node_id: str, name: str, job_id: str | None) -> Track:
        """The stem of that name: of that job, else the newest there is. Raises NotFound, Conflict while it is
        being made, ChainNotFound, NodeNotFound."""
        node, made = await self.read(tenant, chain_id, node_id)
        asked = [derived for derived in made if job_id is None or derived.job_id == job_id]
        for derived in reversed(asked):
            for track in derived.tracks:
                if track.name == name:
                    return track
        if any(not derived.status.is_finished for derived in asked):
            raise Conflict(f"the stems of node {node_id} are still being made", code="not-ready")
        there = sorted({track.name for derived in asked for track in derived.tracks})
        raise NotFound(f"node {node.id} has no stem {name[:80]!r}; it has: {', '.join(there) or 'none'}")

    async def _job_id(
        self, tenant: str, params: dict[str, object], request_sha256: str, key: str | None
    ) -> str:
        if key is None:
            return await self._jobs.id_of_work(tenant, JobKind.STEMS, request_sha256)

        async def find(candidate: str) -> Earlier | None:
            job = await self._jobs.find(tenant, candidate)
            return Earlier(job.request_sha256, job.created_at) if job is not None else None

        return await request_id(
            tenant=tenant,
            route=f"stems/{params['chain_id']}/{params['node_id']}",
            key=key,
            request_sha256=request_sha256,
            find=find,
            ttl=self._ttl,
            now=self._clock(),
        )

    async def _accept(self, tenant: str, job_id: str, params: dict[str, object], request_sha256: str) -> Job:
        now = self._clock()
        job = Job(
            id=job_id,
            kind=JobKind.STEMS,
            tenant=tenant,
            created_at=now,
            updated_at=now,
            request_sha256=request_sha256,
            params=params,
        )
        # Look before anything is written: most refusals leave no trace at all.
        chain = await self._chains.load(tenant, str(job.chain_id))
        probe = Derived(job_id=job.id, kind=DerivedKind.STEMS, created_at=now)
        derivations.add(chain, str(job.node_id), probe, now)
        await self._jobs.require_room(tenant, 1)
        return (await self._jobs.accept([job]))[0]

    async def _add(self, job: Job) -> Chain:
        if job.state.is_finished:
            chain = await self._chains.load(job.tenant, str(job.chain_id))
            if chain.node(str(job.node_id)).derivation(job.id) is None:
                raise Conflict(f"this work has ended ({job.state}), and its stems are gone; use a new key")
            return chain
        try:
            return await ensure_stems(self._chains, job)
        except DomainError as error:
            await self._jobs.refuse([job], Failure("conflict", str(error)))
            raise


def newest_ready(made: tuple[Derived, ...]) -> Derived | None:
    """The last of them whose stems are there."""
    return next((derived for derived in reversed(made) if derived.status is NodeStatus.READY), None)
