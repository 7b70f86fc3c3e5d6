"""What processing leaves behind goes in time: sources with the job's end, outputs when they have expired."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

from deployments.worker.collection import Housekeeper
from storage.domain.jobs import Job, JobKind, JobState, StageRecord, claim, finish, record_stage
from storage.domain.model import BlobRef
from storage.gc.collector import Collector
from storage.gc.rules import Reason, Retention
from storage.repositories.blobs import Blobs
from storage.repositories.jobs import Jobs
from storage.stores.clock import utc_now
from storage.stores.memory import MemoryStore
from tests.storage.domain.builders import track

TENANT = "local"


async def blob(store: MemoryStore, owner: str, data: bytes) -> BlobRef:
    return await Blobs(store).put(TENANT, owner, data)


async def names(store: MemoryStore) -> set[str]:
    return {info.key.rsplit("/", 1)[1] async for info in store.list(f"tenants/{TENANT}/blobs/")}


async def processed(store: MemoryStore, *, ended: bool) -> tuple[BlobRef, BlobRef, BlobRef]:
    """A process job with its source, an output, and what an attempt left unrecorded."""
    now = utc_now()
    source = await blob(store, "source-j", b"mix")
    output, lost = await blob(store, "j-1", b"vocals"), await blob(store, "j-1", b"half")
    jobs = Jobs(store)
    job = Job("j", JobKind.PROCESS, TENANT, now, now, "0" * 64)
    job, _ = await jobs.create(job)

    def work(job: Job, now: object) -> Job:
        moment = utc_now()
        job = claim(job, lease_s=1, max_attempts=3, stale=None, now=moment)
        made = replace(track("vocals"), blob=output)
        job = record_stage(job, 1, StageRecord("separation", 1.0, tracks=(made,)), moment)
        return finish(job, JobState.SUCCEEDED, moment, fence=1) if ended else job

    await jobs.change(TENANT, "j", work)
    return source, output, lost


async def test_nothing_of_a_job_under_way_goes() -> None:
    store = MemoryStore()
    await processed(store, ended=False)
    before = await names(store)
    assert await Housekeeper(Collector(store, Retention(1e-9, None, None, 1e-9)), 1.0).collect() == 0
    assert await names(store) == before


async def test_sources_go_at_the_end_and_outputs_when_they_have_expired() -> None:
    store = MemoryStore()
    source, output, lost = await processed(store, ended=True)
    kept = Collector(store, Retention())
    assert {doomed.reason for doomed in await kept.collect(await kept.plan())} == {Reason.PROCESSED}
    assert await names(store) == {output.name, lost.name}
    assert source.name not in await names(store)
    await asyncio.sleep(0.06)
    strict = Collector(store, Retention(outputs_s=0.05))
    assert [doomed.reason for doomed in await strict.plan()] == [Reason.OLD_OUTPUT]
    assert len(await strict.collect(await strict.plan())) == 1
    assert await names(store) == {lost.name}


async def test_a_source_without_a_job_goes_and_its_job_can_no_longer_come() -> None:
    store = MemoryStore()
    digest = hashlib.sha256(b"mix").hexdigest()
    await blob(store, "source-k", b"mix")
    await asyncio.sleep(0.01)
    collector = Collector(store, Retention(grace_s=0.005, exports_s=None, tombstones_s=None))
    plan = await collector.plan()
    assert [(doomed.reason, doomed.key.endswith(digest)) for doomed in plan] == [(Reason.NO_PROCESS, True)]
    assert len(await collector.collect(plan)) == 1
    barred = await Jobs(store).find(TENANT, "k")
    assert barred is not None
    assert barred.state is JobState.FAILED
