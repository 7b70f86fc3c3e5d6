"""Takes: continuations of a node, and roots made from words alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from deployments.audio.wav import BYTES_PER_SAMPLE
from deployments.specs.generate import GenerateSpec, ensure_node, with_takes
from serve_app.chains.crops import CropService
from serve_app.chains.drafts import BranchRequest, Draft, drafted_node, first_seed
from serve_app.chains.new_chains import NewChains
from serve_app.http.problems import Conflict
from serve_app.jobs.admission import Admission
from serve_app.jobs.idempotency import request_hash
from serve_app.system.models import ServedGenerators
from storage.domain.accounts import Amounts
from storage.domain.ids import derived_id, random_id
from storage.domain.jobs import Job
from storage.domain.model import Chain, DomainError, Failure, Node, Origin
from storage.repositories.chains import Chains
from storage.stores.clock import Clock, utc_now


@dataclass(frozen=True, slots=True)
class Branched:
    """Accepted work: `jobs[i]` makes `nodes[i]`. `crop` is their parent, where they continue from within a node."""

    chain: Chain
    nodes: tuple[Node, ...]
    jobs: tuple[Job, ...]
    crop: Node | None = None


class TakeService:
    def __init__(
        self,
        chains: Chains,
        new_chains: NewChains,
        crops: CropService,
        admission: Admission,
        models: ServedGenerators,
        clock: Clock = utc_now,
    ) -> None:
        self._chains = chains
        self._new_chains = new_chains
        self._crops = crops
        self._admission = admission
        self._models = models
        self._clock = clock

    async def generate_root(
        self, tenant: str, title: str, wanted: BranchRequest, key: str | None
    ) -> Branched:
        """A chain whose root is generated from a text prompt alone.

        Raises Unprocessable, IdempotencyMismatch, Conflict, TooManyRequests.
        """
        model = self._models.choose(wanted.model, wanted.mode).name
        request_sha256 = request_hash({"title": title, **wanted.body()})
        chain_id, earlier_chain = await self._new_chains.name(tenant, key, request_sha256)
        job_id = derived_id(chain_id, "root-job")
        earlier_job = await self._admission.find(tenant, job_id)
        if earlier_chain is not None and earlier_job is not None:
            return Branched(earlier_chain, (earlier_chain.node(earlier_chain.root_id),), (earlier_job,))
        if earlier_job is None:
            await self._admission.require_room(tenant, 1)
        draft = Draft(
            wanted=wanted,
            tenant=tenant,
            chain_id=chain_id,
            parent_id=None,
            model=model,
            seed=first_seed(wanted.seed, chain_id if key is not None else None),
            request_sha256=request_sha256,
            created_at=self._clock(),
            title=title,
        )
        jobs = await self._admission.admit([draft.job(job_id, derived_id(chain_id, "root"))], _needed(wanted))
        _require_unfinished(jobs, earlier_chain)
        node = drafted_node(jobs[0])
        chain = await ensure_node(self._chains, jobs[0])
        self._admission.push(jobs)
        return Branched(chain, (chain.node(node.id),), tuple(jobs))

    async def branch(
        self,
        tenant: str,
        chain_id: str,
        parent_id: str,
        wanted: BranchRequest,
        key: str | None,
        at_s: float | None = None,
    ) -> Branched:
        """Ask for takes that continue from `parent_id`, or from its second `at_s`: then from a crop of it.

        The records are durable before this returns; a repeated request with the same key finds them. Raises
        ChainNotFound, NodeNotFound, Refused if the parent cannot be branched from, Unprocessable,
        IdempotencyMismatch, TooManyRequests.
        """
        model = self._models.choose(wanted.model, wanted.mode).name
        at = {} if at_s is None else {"at_s": at_s}
        request_sha256 = request_hash({"chain": chain_id, "parent": parent_id, **at, **wanted.body()})
        batch_id = await self._admission.id_of_request(
            tenant,
            f"branch/{chain_id}",
            key,
            request_sha256,
            first_job=lambda batch: derived_id(batch, "take", "0"),
        )
        job_ids = [derived_id(batch_id, "take", str(take)) for take in range(wanted.takes)]
        crop: Node | None = None
        if (earlier := await self._admission.find(tenant, job_ids[0])) is not None:
            crop = GenerateSpec.from_record(earlier.params).crop
        else:
            # Look before anything is written: most refusals leave no trace at all.
            chain = await self._chains.load(tenant, chain_id)
            with_takes(chain, [_probe(parent_id, self._clock())], None, self._clock())
            self._chains.require_room(chain, wanted.takes)
            await self._admission.require_room(tenant, wanted.takes)
            if at_s is not None:
                crop = await self._crops.head(tenant, chain, parent_id, at_s, derived_id(batch_id, "crop"))
        draft = Draft(
            wanted=wanted,
            tenant=tenant,
            chain_id=chain_id,
            parent_id=parent_id if crop is None else crop.id,
            model=model,
            seed=first_seed(wanted.seed, batch_id if key is not None else None),
            request_sha256=request_sha256,
            created_at=self._clock(),
            crop=crop,
        )
        jobs = await self._admission.admit(
            [draft.job(job_id, derived_id(job_id, "node"), take) for take, job_id in enumerate(job_ids)],
            _needed(wanted),
        )
        chain = await self._add(tenant, chain_id, jobs)
        self._admission.push(jobs)
        made = tuple(chain.node(str(job.node_id)) for job in jobs)
        crop = GenerateSpec.from_record(jobs[0].params).crop
        return Branched(chain, made, tuple(jobs), chain.node(crop.id) if crop is not None else None)

    async def _add(self, tenant: str, chain_id: str, jobs: Sequence[Job]) -> Chain:
        """Bring the nodes of accepted jobs into their chain; where it does not take them, the jobs fail."""
        if any(job.state.is_finished for job in jobs):
            _require_unfinished(jobs, await self._chains.load(tenant, chain_id))
        nodes, crop = [drafted_node(job) for job in jobs], GenerateSpec.from_record(jobs[0].params).crop
        try:
            return await self._chains.change(
                tenant, chain_id, lambda chain, now: with_takes(chain, nodes, crop, now)
            )
        except DomainError as error:
            await self._admission.refuse(jobs, Failure("conflict", str(error)))
            raise


def _require_unfinished(jobs: Sequence[Job], chain: Chain | None) -> None:
    """Raises Conflict for a job that ended before its node came into the chain, as only a request that was
    broken off leaves one: nobody would ever work on that node."""
    for job in jobs:
        if job.state.is_finished and (chain is None or chain.find(str(job.node_id)) is None):
            reason = f": {job.error.detail}" if job.error is not None else ""
            raise Conflict(f"the work of this Idempotency-Key ended ({job.state}{reason}); use a new key")


def _needed(wanted: BranchRequest) -> Amounts:
    """Of one take; its size is one of 48 kHz in stereo, and what it took is settled when it ends."""
    return Amounts(1, 0.0, wanted.duration_s, round(wanted.duration_s * 48_000 * 2 * BYTES_PER_SAMPLE))


def _probe(parent_id: str, now: datetime) -> Node:
    """A node that is never kept: adding it tells whether its parent can be branched from."""
    return Node(id=random_id(), parent_id=parent_id, origin=Origin.GENERATION, created_at=now)
