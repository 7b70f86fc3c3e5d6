"""Work that derives something from a node, as clients ask for it: once for the same request, under one job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployments.worker.handlers.deriving import Wanted, ensure_derivation
from serve_app.http.problems import Conflict
from serve_app.jobs.admission import Admission
from serve_app.jobs.idempotency import request_hash
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
        admission: Admission,
        *,
        kind: JobKind,
        wanted: Wanted,
        clock: Clock = utc_now,
    ) -> None:
        self._chains = chains
        self._admission = admission
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
        job = await self._admission.find(tenant, job_id)
        if job is None:
            job = await self._accept(tenant, job_id, params, request_sha256)
        chain = await self._add(job)
        if derivations.find(chain, str(job.node_id), job.id).status.is_finished:
            return job
        self._admission.push([job])
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
            return await self._admission.id_of_work(tenant, self._kind, request_sha256)
        route = f"{self._kind.value}/{params['chain_id']}/{params['node_id']}"
        return await self._admission.id_of_request(tenant, route, key, request_sha256)

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
        await self._admission.require_room(tenant, 1)
        return (await self._admission.admit([job]))[0]

    async def _add(self, job: Job) -> Chain:
        if job.state.is_finished:
            chain = await self._chains.load(job.tenant, str(job.chain_id))
            if chain.node(str(job.node_id)).derivation(job.id) is None:
                raise Conflict(f"this work has ended ({job.state}), and what it made is gone; use a new key")
            return chain
        try:
            return await ensure_derivation(self._chains, job, self._wanted)
        except DomainError as error:
            await self._admission.refuse([job], Failure("conflict", str(error)))
            raise
