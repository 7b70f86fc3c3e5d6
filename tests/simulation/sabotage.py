"""Ways to break the product, each a rule of its own left out: what the simulation is there to notice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from deployments.worker import attempt, worker
from deployments.worker import heartbeat as heart
from deployments.worker.handlers import generate
from deployments.worker.worker import Worker
from serve_app.chains import new_chains
from serve_app.jobs import admission
from serve_app.jobs import service as job_service
from serve_app.jobs.admission import Admission
from storage.domain import decisions, edits, jobs
from storage.domain.ids import random_id
from storage.domain.jobs import Job, JobState, LeaseWatch, sign_of
from storage.domain.model import BlobRef, Chain
from storage.repositories.blobs import Blobs
from storage.repositories.jobs import Jobs
from storage.stores.document import Document
from storage.stores.object_store import Condition
from tests.simulation.store import Wire

Sabotage = Callable[[pytest.MonkeyPatch], None]


def _no_fence_when_a_take_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits, "_require_fence", lambda node, fence: None)


def _a_claim_that_raises_no_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "claim", lambda job, **how: replace(jobs.claim(job, **how), fence=job.fence))


def _a_node_that_takes_an_older_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    start = edits.start

    def careless(chain: Chain, node_id: str, fence: int, now: Any) -> Chain:
        node = chain.node(node_id)
        if node.fence > fence and not node.status.is_finished:
            return edits.update(chain, [replace(node, fence=fence)], now)
        return start(chain, node_id, fence, now)

    monkeypatch.setattr(edits, "start", careless)


def _an_end_without_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(job: Job, state: JobState, now: Any, *, fence: int | None = None, **what: Any) -> Job:
        return replace(jobs.finish(replace(job, state=JobState.RUNNING), state, now, **what), fence=job.fence)

    monkeypatch.setattr(attempt, "finish", careless)


def _no_look_for_ones_own_write(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Document[Any], write_id: str) -> bool:
        return False

    monkeypatch.setattr(Document, "_has_write", never)


def _puts_without_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    put = Wire.put

    async def careless(self: Wire, key: str, data: bytes, condition: Condition = None) -> str:
        return await put(self, key, data)

    monkeypatch.setattr(Wire, "put", careless)


def _a_takeover_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        LeaseWatch,
        "observe",
        lambda self, job, now_s: sign_of(job) if job.state is JobState.RUNNING else None,
    )


def _no_takeover(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LeaseWatch, "observe", lambda self, job, now_s: None)


def _no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heart, "beat", lambda job, fence, progress, now: job)


def _no_marker(monkeypatch: pytest.MonkeyPatch) -> None:
    put = Wire.put

    async def careless(self: Wire, key: str, data: bytes, condition: Condition = None) -> str:
        return "" if "/active/" in key else await put(self, key, data, condition)

    monkeypatch.setattr(Wire, "put", careless)


def _a_marker_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Jobs, key: Any) -> None:
        """The marker stays."""

    monkeypatch.setattr(Jobs, "clear_active", never)


def _a_blob_that_was_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    put = Blobs.put

    async def careless(self: Blobs, tenant: str, owner: str, data: bytes) -> BlobRef:
        ref = await put(self, tenant, owner, data)
        return ref if owner.startswith("upload-") else replace(ref, name=f"{ref.name[:-1]}_")

    monkeypatch.setattr(Blobs, "put", careless)


def _no_bound_on_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "_give_up", _work_on_regardless)


async def _work_on_regardless(self: Worker, job: Job, handler: Any) -> None:
    await attempt.Attempt(
        job, handler, self._jobs, self._heart, self._settings, self._announce_progress
    ).run()


def _ids_that_forget_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async def careless(**request: Any) -> str:
        return random_id()

    for module in (new_chains, admission):
        monkeypatch.setattr(module, "request_id", careless)


def _nodes_left_to_the_ingress(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(chains: Any, job: Job) -> None:
        """The runner trusts that the node is there."""

    monkeypatch.setattr(generate, "ensure_node", never)


def _an_answer_before_anything_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hasty(self: Admission, wanted: list[Job], *_: Any) -> list[Job]:
        return list(wanted)

    monkeypatch.setattr(Admission, "admit", hasty)


def _a_cancelled_record_that_asks_no_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(job: Job, outcome: Any, now: Any) -> Job:
        queued = job.state is JobState.QUEUED
        return jobs.finish(job, JobState.CANCELLED, now) if queued else jobs.request_cancel(job, now)

    monkeypatch.setattr(job_service, "cancel", hasty)


def _siblings_both_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "children_of", lambda chain, node_id: ())


_ALL: tuple[Sabotage, ...] = (
    _no_fence_when_a_take_is_published,
    _a_claim_that_raises_no_fence,
    _a_node_that_takes_an_older_fence,
    _an_end_without_a_claim,
    _no_look_for_ones_own_write,
    _puts_without_conditions,
    _a_takeover_without_waiting,
    _no_takeover,
    _no_heartbeat,
    _no_marker,
    _a_marker_that_stays,
    _a_blob_that_was_not_written,
    _no_bound_on_attempts,
    _ids_that_forget_the_key,
    _nodes_left_to_the_ingress,
    _an_answer_before_anything_is_durable,
    _a_cancelled_record_that_asks_no_chain,
    _siblings_both_committed,
)

SABOTAGES: Mapping[str, Sabotage] = {
    sabotage.__name__.strip("_").replace("_", " "): sabotage for sabotage in _ALL
}
