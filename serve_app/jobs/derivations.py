"""Work that derives something from a node, as clients ask for it: once for the same request, under one job."""

from __future__ import annotations

from deployments.specs.derive import DerivationSpec, ensure_derivation, pending
from deployments.specs.spec import new_job
from serve_app.http.problems import Conflict
from serve_app.jobs.admission import Admission
from serve_app.jobs.idempotency import request_hash
from storage.domain import derivations
from storage.domain.accounts import Amounts
from storage.domain.jobs import Job
from storage.domain.model import Chain, Derived, DerivedKind, DomainError, Failure, Node
from storage.repositories.chains import Chains
from storage.stores.clock import Clock, utc_now


class Derivations:
    """`stored_for_each`: about how many times as much as the node a job of this kind stores."""

    def __init__(
        self,
        chains: Chains,
        admission: Admission,
        *,
        stored_for_each: int = 0,
        clock: Clock = utc_now,
    ) -> None:
        self._chains = chains
        self._admission = admission
        self._stored_for_each = stored_for_each
        self._clock = clock

    async def start(self, tenant: str, spec: DerivationSpec, key: str | None) -> Job:
        """A job that does this, or that did it before: equal specs are one job, as long as it did not fail.

        Raises ChainNotFound, NodeNotFound, Refused for a node that is not ready or is discarded,
        IdempotencyMismatch, Conflict, TooManyRequests.
        """
        request_sha256 = request_hash(spec.to_record())
        job_id = await self._job_id(tenant, spec, request_sha256, key)
        job = await self._admission.find(tenant, job_id)
        if job is None:
            job = await self._accept(tenant, job_id, spec, request_sha256)
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

    async def _job_id(self, tenant: str, spec: DerivationSpec, request_sha256: str, key: str | None) -> str:
        if key is None:
            return await self._admission.id_of_work(tenant, spec.kind, request_sha256)
        route = f"{spec.kind.value}/{spec.chain_id}/{spec.node_id}"
        return await self._admission.id_of_request(tenant, route, key, request_sha256)

    async def _accept(self, tenant: str, job_id: str, spec: DerivationSpec, request_sha256: str) -> Job:
        now = self._clock()
        job = new_job(spec, job_id=job_id, tenant=tenant, request_sha256=request_sha256, now=now)
        # Look before anything is written: most refusals leave no trace at all.
        chain = await self._chains.load(tenant, str(job.chain_id))
        derivations.add(chain, str(job.node_id), pending(job), now)
        await self._admission.require_room(tenant, 1)
        node = chain.node(str(job.node_id))
        stored_bytes = self._stored_for_each * (node.audio.blob.size_bytes if node.audio is not None else 0)
        return (await self._admission.admit([job], Amounts(1, 0.0, node.duration_s, stored_bytes)))[0]

    async def _add(self, job: Job) -> Chain:
        if job.state.is_finished:
            chain = await self._chains.load(job.tenant, str(job.chain_id))
            if chain.node(str(job.node_id)).derivation(job.id) is None:
                raise Conflict(f"this work has ended ({job.state}), and what it made is gone; use a new key")
            return chain
        try:
            return await ensure_derivation(self._chains, job)
        except DomainError as error:
            await self._admission.refuse([job], Failure("conflict", str(error)))
            raise
