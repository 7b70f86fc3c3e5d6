"""Work that derives something from a node, as clients ask for it: once for the same request, under one job."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from configs.settings import JobSettings
from deployments.worker.handlers.deriving import Wanted, ensure_derivation
from serve_app.http.problems import Conflict
from serve_app.jobs.idempotency import Earlier, request_hash, request_id
from serve_app.jobs.service import JobService
from storage.domain import derivations
from storage.domain.jobs import Job, JobKind
from storage.domain.model import Chain, Derived, DerivedKind, DomainError, Failure, Node
from storage.repositories.chains import Chains
from storage.stores.clock import Clock, utc_now


class Derivations:
    """Of one kind: `wanted` says what a job of it derives."""

    def __init__(
        self,
        chains: Chains,
        jobs: JobService,
        settings: JobSettings,
        *,
        kind: JobKind,
        wanted: Wanted,
        clock: Clock = utc_now,
    ) -> None:
        self._chains = chains
        self._jobs = jobs
        self._ttl = timedelta(seconds=settings.idempotency_ttl_s)
        self._kind = kind
        self._wanted = wanted
        self._clock = clock

    async def start(self, tenant: str, params: Mapping[str, Any], key: str | None) -> Job:
        """A job that does this, or that did it before: equal `params` (with `chain_id` and `node_id`) are one job,
        as long as it did not fail.

        Raises ChainNotFound, NodeNotFound, Refused for a node that is not ready or is discarded,
        IdempotencyMismatch, Conflict, TooManyRequests.
        """
        request_sha256 = request_hash(dict(params))
        job_id = await self._job_id(tenant, params, request_sha256, key)
        job = await self._jobs.find(tenant, job_id)
        if job is None:
            job = await self._accept(tenant, job_id, params, request_sha256)
        chain = await self._add(job)
        if derivations.find(chain, str(job.node_id), job.id).status.is_finished:
            return job
        self._jobs.push([job])
        return job

    async def read(
        self, tenant: str, chain_id: str, node_id: str, kind: DerivedKind
    ) -> tuple[Node, tuple[Derived, ...]]:
        """The node and what was derived from it, the oldest first. Raises ChainNotFound, NodeNotFound."""
        node = (await self._chains.load(tenant, chain_id)).node(node_id)
        return node, tuple(derived for derived in node.derived if derived.kind is kind)

    async def _job_id(
        self, tenant: str, params: Mapping[str, Any], request_sha256: str, key: str | None
    ) -> str:
        if key is None:
            return await self._jobs.id_of_work(tenant, self._kind, request_sha256)

        async def find(candidate: str) -> Earlier | None:
            job = await self._jobs.find(tenant, candidate)
            return Earlier(job.request_sha256, job.created_at) if job is not None else None

        return await request_id(
            tenant=tenant,
            route=f"{self._kind.value}/{params['chain_id']}/{params['node_id']}",
            key=key,
            request_sha256=request_sha256,
            find=find,
            ttl=self._ttl,
            now=self._clock(),
        )

    async def _accept(self, tenant: str, job_id: str, params: Mapping[str, Any], request_sha256: str) -> Job:
        now = self._clock()
        job = Job(
            id=job_id,
            kind=self._kind,
            tenant=tenant,
            created_at=now,
            updated_at=now,
            request_sha256=request_sha256,
            params=dict(params),
        )
        # Look before anything is written: most refusals leave no trace at all.
        chain = await self._chains.load(tenant, str(job.chain_id))
        derivations.add(chain, str(job.node_id), self._wanted(job), now)
        await self._jobs.require_room(tenant, 1)
        return (await self._jobs.accept([job]))[0]

    async def _add(self, job: Job) -> Chain:
        if job.state.is_finished:
            chain = await self._chains.load(job.tenant, str(job.chain_id))
            if chain.node(str(job.node_id)).derivation(job.id) is None:
                raise Conflict(f"this work has ended ({job.state}), and what it made is gone; use a new key")
            return chain
        try:
            return await ensure_derivation(self._chains, job, self._wanted)
        except DomainError as error:
            await self._jobs.refuse([job], Failure("conflict", str(error)))
            raise
