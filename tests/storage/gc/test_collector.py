"""The collector takes what nobody needs any more, a day after it was written, and nothing else."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from serve_app.collect import main
from storage import paths
from storage.domain import decisions, edits
from storage.domain.jobs import Job, JobKind, JobState, StageRecord, Track, claim, finish
from storage.domain.model import BlobRef, Chain, ChainNotFound, NodeAudio
from storage.domain.records import audio_to_record
from storage.gc.collector import Collector
from storage.gc.rules import Doomed, Reason, Retention
from storage.repositories.blobs import Blobs
from storage.repositories.chains import Chains
from storage.repositories.exports import Export, Exports
from storage.repositories.jobs import JobKey, Jobs
from storage.repositories.peaks import Peaks
from storage.repositories.segments import SegmentKey, Segments
from storage.stores.memory import MemoryStore
from storage.stores.object_store import Condition
from tests.storage.domain.builders import PROVENANCE, pending, queued_job, uploaded_root

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
TENANT = "t"


class AgingStore(MemoryStore):
    """A store whose clock is its own, and stands still until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2001, 1, 1, tzinfo=UTC)  # far from this machine's
        self.deletions: list[str] = []

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        etag = await super().put(key, data, condition)
        self._objects[key] = replace(self._objects[key], modified_at=self.now)
        return etag

    async def delete(self, key: str) -> None:
        await super().delete(key)
        self.deletions.append(key)

    @property
    def kept(self) -> set[str]:
        return set(self._objects)


@pytest.fixture
def store() -> AgingStore:
    return AgingStore()


@pytest.fixture
def collector(store: AgingStore) -> Collector:
    return Collector(store)


async def collected(collector: Collector) -> dict[str, Reason]:
    """Plan and collect once; what went, by the last part of its key."""
    return {_name(doomed): doomed.reason for doomed in await collector.collect(await collector.plan())}


def _name(doomed: Doomed) -> str:
    return doomed.key.rsplit("/", 1)[1]


def audio_of(blob: BlobRef, **others: Any) -> NodeAudio:
    return NodeAudio(
        blob=blob, samples=8, sample_rate_hz=8, channels=1, rms_dbfs=0.0, peak_dbfs=0.0, **others
    )


async def put_blob(store: AgingStore, owner: str, content: str = "sound") -> BlobRef:
    return await Blobs(store).put(TENANT, owner, content.encode())


async def uploaded(store: AgingStore, chain_id: str = "c") -> Chain:
    """A chain of an uploaded root, with its original."""
    audio = audio_of(
        await put_blob(store, f"upload-{chain_id}"),
        original=await put_blob(store, f"upload-{chain_id}", "file"),
    )
    root = replace(uploaded_root(), audio=audio)
    chain = edits.new_chain(chain_id=chain_id, tenant=TENANT, title="", root=root, now=store.now)
    kept, _ = await Chains(store).create(chain)
    return kept


async def claimed(store: AgingStore, job_id: str = "job-a", node: str = "a") -> Job:
    """A job under its next claim, its node running in chain `c`."""
    jobs, chains = Jobs(store), Chains(store)
    wanted = queued_job(job_id)
    if await jobs.find(TENANT, job_id) is None:
        await jobs.create(replace(wanted, params={"chain_id": "c", "node_id": node}, created_at=store.now))
    job = await jobs.change(
        TENANT,
        job_id,
        lambda job, now: claim(
            replace(job, state=JobState.QUEUED), lease_s=1, max_attempts=None, stale=None, now=now
        ),
    )
    added = replace(pending(node, "root"), job_id=job_id)
    await chains.change(TENANT, "c", lambda chain, now: edits.add_nodes(chain, [added], now))
    await chains.change(TENANT, "c", lambda chain, now: edits.start(chain, node, job.fence, now))
    return job


async def publish(store: AgingStore, job: Job, audio: NodeAudio) -> None:
    await Chains(store).change(
        TENANT,
        "c",
        lambda chain, now: edits.publish(chain, str(job.node_id), job.fence, audio, PROVENANCE, now),
    )


async def end(store: AgingStore, job: Job, state: JobState = JobState.SUCCEEDED) -> None:
    await Jobs(store).change(TENANT, job.id, lambda job, now: finish(job, state, now))


async def exported(store: AgingStore, export_id: str = "plan", owner: str = "export") -> Export:
    blob = await put_blob(store, owner, f"file of {export_id}")
    export = Export(export_id, TENANT, store.now, blob, "audio/wav", "song.wav", 8, 8)
    return await Exports(store).keep(export)


async def test_an_empty_store_has_no_garbage(collector: Collector) -> None:
    assert await collector.plan() == []


async def test_a_plan_says_what_and_why_and_how_old_and_how_big(
    store: AgingStore, collector: Collector
) -> None:
    await uploaded(store)
    job = await claimed(store)
    blob = await put_blob(store, "job-a-1", "12345")
    await end(store, job, JobState.FAILED)
    await Chains(store).change(TENANT, "c", lambda chain, now: edits.cancel(chain, "a", now))
    store.pass_time(25 * HOUR_S)
    (doomed,) = await collector.plan()
    assert (doomed.key, doomed.reason) == (paths.blob(TENANT, blob.name), Reason.UNPUBLISHED)
    assert (doomed.age_s, doomed.size_bytes) == (25 * HOUR_S, 5)


async def test_planning_deletes_nothing_and_leaves_nothing(store: AgingStore, collector: Collector) -> None:
    await put_blob(store, "upload-x")
    await store.put(paths.active(TENANT, "never"), b"")
    store.pass_time(2 * DAY_S)
    before = store.kept
    assert len(await collector.plan()) == 2
    assert store.kept == before
    assert all("/probes/" in key for key in store.deletions)


async def test_what_is_in_use_stays_for_ever(store: AgingStore, collector: Collector) -> None:
    """Takes, lead-ins, originals, discarded nodes, exports: everything that a document names."""
    await uploaded(store)
    job = await claimed(store)
    lead_in = await put_blob(store, "job-a-1", "lead-in")
    await publish(store, job, audio_of(await put_blob(store, "job-a-1"), lead_in=lead_in))
    await end(store, job)
    await Chains(store).change(TENANT, "c", lambda chain, now: decisions.discard(chain, "a", now))
    await exported(store)
    before = store.kept
    store.pass_time(29 * DAY_S)
    assert await collector.plan() == []
    assert await Collector(store, Retention(exports_s=None)).plan() == []
    assert store.kept == before


async def test_audio_of_an_attempt_that_was_overtaken_goes(store: AgingStore, collector: Collector) -> None:
    await uploaded(store)
    await claimed(store)
    lost = await put_blob(store, "job-a-1", "of the first claim")
    job = await claimed(store)
    won = await put_blob(store, "job-a-2", "of the second")
    await publish(store, job, audio_of(won))
    await end(store, job)
    store.pass_time(23 * HOUR_S)
    assert await collector.plan() == []
    store.pass_time(1 * HOUR_S)
    assert await collected(collector) == {lost.name: Reason.UNPUBLISHED}
    assert paths.blob(TENANT, won.name) in store.kept
    assert await collector.plan() == []


async def test_the_record_of_a_job_stays_with_its_take_and_goes_a_month_after_the_chain(
    store: AgingStore, collector: Collector
) -> None:
    await uploaded(store)
    job = await claimed(store)
    await publish(store, job, audio_of(await put_blob(store, "job-a-1")))
    await end(store, job)
    store.pass_time(90 * DAY_S)
    assert await collector.plan() == []
    await Chains(store).delete(TENANT, "c")
    store.pass_time(DAY_S)
    await collected(collector)  # the audio
    plan = await collector.plan()
    assert [doomed.reason for doomed in plan] == [Reason.OLD_JOB, Reason.OLD_JOB]
    assert [doomed.key for doomed in plan][1] == paths.job(TENANT, job.id)  # after its entry
    assert await collector.collect(plan) == plan
    assert (await Jobs(store).page(TENANT)).jobs == ()
    assert await Jobs(store).find(TENANT, job.id) is None


async def lone(store: AgingStore, state: JobState = JobState.FAILED) -> Job:
    """A job that has ended and of which no chain speaks."""
    await Jobs(store).create(replace(queued_job("job-a"), created_at=store.now))
    await end(store, await Jobs(store).load(TENANT, "job-a"), state)
    return await Jobs(store).load(TENANT, "job-a")


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
async def test_the_record_of_a_job_that_left_nothing_goes_a_month_after_its_end(
    store: AgingStore, collector: Collector, state: JobState
) -> None:
    await Jobs(store).create(replace(queued_job("job-a"), created_at=store.now))
    store.pass_time(40 * DAY_S)
    assert await collector.plan() == []  # it waits for a runner
    await end(store, await Jobs(store).load(TENANT, "job-a"), state)
    store.pass_time(30 * DAY_S - 1)
    assert await collector.plan() == []
    store.pass_time(1)
    assert set((await collected(collector)).values()) == {Reason.OLD_JOB}
    assert await Jobs(store).find(TENANT, "job-a") is None
    assert await collector.plan() == []


async def test_the_record_of_a_job_whose_chain_is_damaged_stays(
    store: AgingStore, collector: Collector
) -> None:
    await uploaded(store)
    await end(store, await claimed(store))
    await store.put(paths.chain(TENANT, "c"), b"torn")
    store.pass_time(90 * DAY_S)
    assert paths.job(TENANT, "job-a") not in {doomed.key for doomed in await collector.plan()}


async def test_a_collector_that_died_between_entry_and_record_is_followed_by_another(
    store: AgingStore, collector: Collector
) -> None:
    job = await lone(store)
    store.pass_time(30 * DAY_S)
    await collector.collect((await collector.plan())[:1])
    assert await Jobs(store).find(TENANT, job.id) is not None
    await collector.collect(await collector.plan())
    assert await Jobs(store).find(TENANT, job.id) is None
    assert await collector.plan() == []


async def test_the_record_of_a_job_stays_as_long_as_its_export(
    store: AgingStore, collector: Collector
) -> None:
    jobs = Jobs(store)
    wanted = replace(queued_job("job-e"), kind=JobKind.EXPORT, params={"line": []}, created_at=store.now)
    await jobs.create(wanted)
    await jobs.change(
        TENANT, "job-e", lambda job, now: finish(job, JobState.SUCCEEDED, now, result={"export_id": "plan"})
    )
    store.pass_time(10 * DAY_S)
    await exported(store)
    store.pass_time(25 * DAY_S)
    assert await collector.plan() == []
    store.pass_time(5 * DAY_S)
    await collected(collector)  # the export expires
    await collected(collector)
    assert await jobs.find(TENANT, "job-e") is None


async def test_the_record_of_a_job_stays_as_long_as_its_outputs(store: AgingStore) -> None:
    keeping = Collector(store, Retention(outputs_s=90 * DAY_S))
    jobs = Jobs(store)
    await jobs.create(replace(queued_job("job-p"), kind=JobKind.PROCESS, created_at=store.now))
    await jobs.change(
        TENANT, "job-p", lambda job, now: claim(job, lease_s=1, max_attempts=None, stale=None, now=now)
    )
    blob = await put_blob(store, "job-p-1")
    track = Track(
        name="bass", blob=blob, format="wav", samples=8, sample_rate_hz=8, channels=1, rms_dbfs=0, peak_dbfs=0
    )
    stages = (StageRecord("stems", 1.0, tracks=(track,)),)
    await jobs.change(TENANT, "job-p", lambda job, now: finish(job, JobState.SUCCEEDED, now, stages=stages))
    store.pass_time(89 * DAY_S)
    assert await keeping.plan() == []
    store.pass_time(DAY_S)
    assert await collected(keeping) == {blob.name: Reason.OLD_OUTPUT}
    await collected(keeping)
    assert await jobs.find(TENANT, "job-p") is None


async def test_no_job_goes_while_its_idempotency_key_is_remembered(store: AgingStore) -> None:
    await lone(store)
    brief = Collector(store, Retention(jobs_s=DAY_S, keys_s=7 * DAY_S))
    store.pass_time(7 * DAY_S - 1)
    assert await brief.plan() == []
    store.pass_time(1)
    assert {doomed.reason for doomed in await brief.plan()} == {Reason.OLD_JOB}
    assert await Collector(store, Retention(jobs_s=None)).plan() == []


async def test_segments_of_a_job_that_has_ended_go(store: AgingStore, collector: Collector) -> None:
    """What a process that died left of its broadcast."""
    await uploaded(store)
    segments = Segments(store)
    job = await claimed(store)
    for number in range(2):
        await segments.put(SegmentKey(TENANT, job.id, job.fence, number), b"sound")
    store.pass_time(29 * DAY_S)
    assert await collector.plan() == []  # somebody may listen, for the job runs
    await end(store, job, JobState.FAILED)
    await Chains(store).change(TENANT, "c", lambda chain, now: edits.cancel(chain, "a", now))
    await segments.put(SegmentKey(TENANT, "never", 1, 0), b"sound")
    await store.put(f"{paths.folder(TENANT, 'segments')}not-ours", b"")
    assert set(await collected(collector)) == {"job-a-1-0000", "job-a-1-0001"}
    store.pass_time(DAY_S)
    assert await collected(collector) == {"never-1-0000": Reason.HEARD}
    assert await collector.plan() == []


async def test_a_running_jobs_audio_stays_however_old_it_is(store: AgingStore, collector: Collector) -> None:
    await uploaded(store)
    job = await claimed(store)
    blob = await put_blob(store, "job-a-1")
    store.pass_time(400 * DAY_S)
    assert await collector.plan() == []
    await publish(store, job, audio_of(blob))
    await end(store, job)
    assert await collector.plan() == []
    assert await Blobs(store).get(TENANT, blob) == b"sound"


async def test_a_take_published_while_the_collector_looks_stays(store: AgingStore) -> None:
    """Between its look at the chain and its look at the job, both come to their end."""

    class LateEnd(AgingStore):
        armed = False

        async def list_folders(self, prefix: str) -> list[str]:
            self.armed = True
            return await super().list_folders(prefix)

        async def get(self, key: str) -> Any:
            found = await super().get(key)
            if self.armed and key == paths.chain(TENANT, "c"):
                self.armed = False
                await publish(self, job, audio_of(blob))
                await end(self, job)
            return found

    late = LateEnd()
    await uploaded(late)
    job = await claimed(late)
    blob = await put_blob(late, "job-a-1")
    await late.delete(paths.active(TENANT, "job-a"))  # as if the marker had been read after the end
    late.pass_time(2 * DAY_S)
    assert await Collector(late).plan() == []


@pytest.mark.parametrize("meanwhile", ["nothing", "the chain is made"])
async def test_an_upload_without_its_chain_goes_unless_the_chain_is_made_first(
    store: AgingStore, collector: Collector, meanwhile: str
) -> None:
    blob = await put_blob(store, "upload-c")
    store.pass_time(DAY_S)
    plan = await collector.plan()
    assert [doomed.reason for doomed in plan] == [Reason.NO_CHAIN]
    root = replace(uploaded_root(), audio=audio_of(blob))
    chain = edits.new_chain(chain_id="c", tenant=TENANT, title="", root=root, now=store.now)
    if meanwhile == "nothing":
        assert await collector.collect(plan) == plan
        kept, made = await Chains(store).create(chain)
        assert not made
        assert kept.deleted_at is not None  # and its writer is told so
    else:
        await Chains(store).create(chain)
        assert await collector.collect(plan) == []
        assert await Blobs(store).get(TENANT, blob) == b"sound"


async def test_a_request_repeated_after_the_upload_was_collected_may_use_its_key_again(
    store: AgingStore, collector: Collector
) -> None:
    """The tombstone is as old as the upload: its Idempotency-Key is not held by it."""
    await put_blob(store, "upload-c")
    written_at = store.now
    store.pass_time(3 * DAY_S)
    await collected(collector)
    tombstone = await Chains(store).find(TENANT, "c")
    assert tombstone is not None
    assert tombstone.created_at == written_at


async def test_an_upload_written_again_since_the_plan_stays(store: AgingStore, collector: Collector) -> None:
    await put_blob(store, "upload-c")
    store.pass_time(DAY_S)
    plan = await collector.plan()
    await put_blob(store, "upload-c")
    assert await collector.collect(plan) == []
    assert await Chains(store).find(TENANT, "c") is None


async def test_a_file_that_lost_the_race_for_its_chain_goes(store: AgingStore, collector: Collector) -> None:
    loser = await put_blob(store, "upload-c", "another file with the same key")
    await uploaded(store)
    store.pass_time(DAY_S)
    assert await collected(collector) == {loser.name: Reason.NO_CHAIN}


async def test_audio_of_a_deleted_chain_goes_a_day_after_its_deletion(
    store: AgingStore, collector: Collector
) -> None:
    await uploaded(store)
    job = await claimed(store)
    take = await put_blob(store, "job-a-1", "take")
    await publish(store, job, audio_of(take))
    await end(store, job)
    store.pass_time(10 * DAY_S)
    await Chains(store).delete(TENANT, "c")
    store.pass_time(23 * HOUR_S)
    assert await collector.plan() == []
    store.pass_time(HOUR_S)
    gone = await collected(collector)
    assert len(gone) == 3
    assert set(gone.values()) == {Reason.DELETED_CHAIN}
    assert await collector.plan() == []
    store.pass_time(30 * DAY_S)
    gone = await collected(collector)
    assert gone.pop("c.json") is Reason.TOMBSTONE
    assert set(gone.values()) == {Reason.OLD_JOB}
    with pytest.raises(ChainNotFound):
        await Chains(store).load(TENANT, "c")


async def test_a_line_that_is_being_exported_stays_though_its_chain_was_deleted(
    store: AgingStore, collector: Collector
) -> None:
    chain = await uploaded(store)
    audio = chain.nodes[0].audio
    assert audio is not None
    params = {"chain_id": "c", "line": [audio_to_record(audio)]}
    inputs = tuple(audio.blob_names)
    job = replace(queued_job("e"), kind=JobKind.EXPORT, params=params, inputs=inputs)
    await Jobs(store).create(job)
    await Chains(store).delete(TENANT, "c")
    store.pass_time(2 * DAY_S)
    assert await collector.plan() == []
    await end(store, job)
    assert set((await collected(collector)).values()) == {Reason.DELETED_CHAIN}


@pytest.mark.parametrize("owner", ["export", "job-e-1"])
async def test_an_expired_export_loses_its_record_first_and_its_file_a_day_later(
    store: AgingStore, collector: Collector, owner: str
) -> None:
    if owner != "export":
        job = replace(queued_job("job-e"), kind=JobKind.EXPORT, params={"chain_id": "c", "line": []})
        await Jobs(store).create(job)
        await end(store, job)
    export = await exported(store, owner=owner)
    store.pass_time(30 * DAY_S)
    assert await collected(collector) == {"plan.json": Reason.EXPIRED}
    assert await Exports(store).find(TENANT, "plan") is None
    assert await collector.plan() == []
    store.pass_time(23 * HOUR_S)
    assert await collector.plan() == []
    assert await Blobs(store).get(TENANT, export.blob) == b"file of plan"
    store.pass_time(HOUR_S)
    assert await collected(collector) == {export.blob.name: Reason.NO_EXPORT}
    assert {doomed.reason for doomed in await collector.plan()} <= {Reason.OLD_JOB}
    assert not [key for key in store.kept if "/released/" in key or "/exports/" in key]


async def test_a_manifest_stays_as_long_as_its_export(store: AgingStore, collector: Collector) -> None:
    file, manifest = [await put_blob(store, "export", text) for text in ("file", "manifest")]
    export = Export("plan", TENANT, store.now, file, "audio/ogg", "song.opus", 8, 8, manifest=manifest)
    await Exports(store).keep(export)
    store.pass_time(29 * DAY_S)
    assert await collector.plan() == []
    store.pass_time(DAY_S)
    assert await collected(collector) == {"plan.json": Reason.EXPIRED}
    store.pass_time(DAY_S)
    await collector.plan()
    assert await collected(collector) == dict.fromkeys((file.name, manifest.name), Reason.NO_EXPORT)


async def test_a_file_that_another_export_names_stays_when_one_expires(
    store: AgingStore, collector: Collector
) -> None:
    old = await exported(store)
    store.pass_time(20 * DAY_S)
    await Exports(store).keep(replace(old, id="other"))
    store.pass_time(10 * DAY_S)
    assert await collected(collector) == {"plan.json": Reason.EXPIRED}
    store.pass_time(5 * DAY_S)
    assert await collector.plan() == []
    assert await Blobs(store).get(TENANT, old.blob) == b"file of plan"


async def test_a_record_that_comes_after_its_file_was_taken_does_not_land(
    store: AgingStore, collector: Collector
) -> None:
    """Nor one that was to replace an earlier barrier. Its writer writes the file again."""
    export_id, exports, written = "ab" * 32, Exports(store), list[BlobRef]()

    async def write(owner: str) -> Export:
        written.append(await put_blob(store, owner, "file"))
        if len(written) <= 2:  # and stands still for longer than a day
            store.pass_time(DAY_S)
            assert await collected(collector) == {written[-1].name: Reason.NO_EXPORT}
            assert await exports.find(TENANT, export_id) is None
        return Export(export_id, TENANT, store.now, written[-1], "audio/wav", "song.wav", 8, 8)

    kept = await exports.publish(TENANT, export_id, write)
    assert kept.blob == written[2]
    assert [paths.blob(TENANT, blob.name) in store.kept for blob in written] == [False, False, True]
    store.pass_time(2 * DAY_S)
    assert await collector.plan() == []


async def test_a_barrier_goes_when_nobody_comes_any_more(store: AgingStore, collector: Collector) -> None:
    export_id = "ab" * 32
    await put_blob(store, f"export-{export_id}-12345678")
    store.pass_time(DAY_S)
    await collected(collector)
    store.pass_time(29 * DAY_S)
    assert await collector.plan() == []
    store.pass_time(DAY_S)
    assert await collected(collector) == {f"{export_id}.json": Reason.BARRIER}
    assert not store.kept


async def test_the_file_of_an_export_that_is_being_made_stays(
    store: AgingStore, collector: Collector
) -> None:
    job = replace(queued_job("e"), kind=JobKind.EXPORT, params={"chain_id": "c", "line": []})
    await Jobs(store).create(job)
    await put_blob(store, "export", "made, without a record yet")
    store.pass_time(2 * DAY_S)
    assert await collector.plan() == []


async def test_the_marker_of_an_ended_job_goes_at_once(store: AgingStore, collector: Collector) -> None:
    await uploaded(store)
    job = await claimed(store)
    await end(store, job)
    await store.put(paths.active(TENANT, job.id), b"")
    assert await collected(collector) == {job.id: Reason.ENDED_JOB}


async def test_the_marker_of_an_unfinished_job_never_goes(store: AgingStore, collector: Collector) -> None:
    await Jobs(store).create(queued_job())
    store.pass_time(1000 * DAY_S)
    assert await collector.plan() == []


async def test_who_comes_back_to_a_marker_that_was_collected_finds_the_job_ended(
    store: AgingStore, collector: Collector
) -> None:
    """A request that stood still between its marker and its record would else leave a job that nobody sweeps."""
    jobs = Jobs(store)
    await store.put(paths.active(TENANT, "job"), b"")
    store.pass_time(23 * HOUR_S)
    assert await collector.plan() == []
    store.pass_time(HOUR_S)
    assert await collected(collector) == {"job": Reason.NO_JOB}
    kept, made = await jobs.create(queued_job())
    assert not made
    assert kept.state is JobState.FAILED
    assert kept.error is not None
    assert kept.error.code == "abandoned"
    assert await jobs.active() == []


async def test_a_marker_whose_record_came_since_the_plan_stays(
    store: AgingStore, collector: Collector
) -> None:
    await store.put(paths.active(TENANT, "job"), b"")
    store.pass_time(DAY_S)
    plan = await collector.plan()
    await Jobs(store).create(queued_job())
    assert await collector.collect(plan) == []
    assert await Jobs(store).active() == [JobKey(TENANT, "job")]


async def test_list_entries_that_lead_nowhere_go(store: AgingStore, collector: Collector) -> None:
    chain = await uploaded(store)
    job = queued_job()
    await Jobs(store).create(job)
    await Jobs(store).create(replace(job, created_at=job.created_at + timedelta(seconds=1)))
    await Chains(store).create(replace(chain, created_at=chain.created_at + timedelta(seconds=1)))
    lonely = paths.timeline_entry(store.now, "broken-off")
    for kind in ("jobs", "chains"):
        await store.put(paths.timeline_folder(TENANT, kind) + lonely, b"")
    store.pass_time(DAY_S)
    reasons = sorted((await collected(collector)).values())
    assert len(reasons) == 3  # the two broken-off ones have one name
    assert await collector.plan() == []
    assert [found.id for found in (await Jobs(store).page(TENANT)).jobs] == ["job"]
    assert [found.id for found in (await Chains(store).page(TENANT)).chains] == ["c"]
    _, made = await Jobs(store).create(replace(job, id="broken-off"))
    assert not made  # who was about to write it finds it ended, not a job that is in no list


async def test_an_entry_left_by_a_deletion_that_was_broken_off_goes(
    store: AgingStore, collector: Collector
) -> None:
    await uploaded(store)
    await Chains(store).change(TENANT, "c", edits.delete)
    store.pass_time(DAY_S)
    assert Reason.OLD_ENTRY in (await collected(collector)).values()


async def test_what_another_program_put_there_stays(store: AgingStore, collector: Collector) -> None:
    strange = {
        f"tenants/{TENANT}/blobs/readme.txt",
        f"tenants/{TENANT}/notes/mine",
        f"tenants/{TENANT}/timeline/jobs/short",
        "elsewhere/thing",
    }
    for key in strange:
        await store.put(key, b"x")
    store.pass_time(1000 * DAY_S)
    await collected(collector)
    assert strange <= store.kept


UNREADABLE = [b"torn", b"", b"[]", b'{"write_ids": [], "record": {"format_version": 99}}']


@pytest.mark.parametrize("document", UNREADABLE)
async def test_a_damaged_chain_keeps_what_it_may_name_and_hinders_nothing_else(
    store: AgingStore, collector: Collector, document: bytes
) -> None:
    chain = await uploaded(store)
    audio = chain.nodes[0].audio
    assert audio is not None
    take = await put_blob(store, "job-1")  # of a job whose record is gone: the chain may name it
    shared = await put_blob(store, "upload-x")  # of another chain, which this one may be a duplicate of
    garbage = await put_blob(store, "export")
    await store.put(paths.chain(TENANT, chain.id), document)
    store.pass_time(1000 * DAY_S)
    gone = await collected(collector)
    assert garbage.name in gone
    assert shared.name not in gone
    assert {paths.chain(TENANT, chain.id), paths.blob(TENANT, audio.blob.name)} <= store.kept
    assert paths.blob(TENANT, take.name) in store.kept
    assert any(key.startswith(paths.timeline_folder(TENANT, "chains")) for key in store.kept)


@pytest.mark.parametrize("document", UNREADABLE)
async def test_a_damaged_job_keeps_its_marker_and_what_it_made(
    store: AgingStore, collector: Collector, document: bytes
) -> None:
    await store.put(paths.active(TENANT, "job"), b"")
    await store.put(paths.job(TENANT, "job"), document)
    made = await put_blob(store, "job-1")
    store.pass_time(1000 * DAY_S)
    await collected(collector)
    assert {
        paths.active(TENANT, "job"),
        paths.job(TENANT, "job"),
        paths.blob(TENANT, made.name),
    } <= store.kept


async def test_a_damaged_tenant_hinders_no_other(store: AgingStore, collector: Collector) -> None:
    await store.put(paths.chain(TENANT, "c"), b"torn")
    other = await Blobs(store).put("other", "upload-x", b"sound")
    store.pass_time(2 * DAY_S)
    assert other.name in await collected(collector)


async def test_a_deleted_damaged_chain_frees_its_audio(store: AgingStore, collector: Collector) -> None:
    chain = await uploaded(store)
    audio = chain.nodes[0].audio
    assert audio is not None
    await store.put(paths.chain(TENANT, chain.id), b"torn")
    deleted = await Chains(store).delete_damaged(TENANT, chain.id)
    assert deleted.deleted_at is not None
    assert (await Chains(store).page(TENANT)).damaged == ()
    store.pass_time(2 * DAY_S)
    assert audio.blob.name in await collected(collector)


async def test_tenants_are_apart(store: AgingStore, collector: Collector) -> None:
    """The same ids, and what one names guards nothing of the other's."""
    chain = await uploaded(store)
    audio = chain.nodes[0].audio
    assert audio is not None
    await Blobs(store).put("other", "upload-c", b"sound")
    store.pass_time(DAY_S)
    (doomed,) = await collector.plan()
    assert (doomed.tenant, doomed.key) == ("other", paths.blob("other", audio.blob.name))


def test_nothing_may_be_kept_for_less_than_garbage() -> None:
    for wrong in ({"grace_s": 0.0}, {"exports_s": HOUR_S}, {"tombstones_s": HOUR_S}):
        with pytest.raises(ValueError, match="grace"):
            Retention(**wrong)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A local folder with one upload that became no chain, two days old, and one of today."""
    for chain_id, age_s in (("old", 2 * DAY_S), ("young", 0.0)):
        blobs = tmp_path / "tenants" / TENANT / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        path = blobs / f"upload-{chain_id}-{'0' * 64}"
        path.write_bytes(b"12345")
        os.utime(path, (time.time() - age_s, time.time() - age_s))
    return tmp_path


def _files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "tenants").rglob("*") if path.is_file()}


def test_the_command_lists_then_deletes_then_finds_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, young = (f"upload-{age}-{'0' * 64}" for age in ("old", "young"))
    storage = ["--storage", f"file:{folder}"]
    assert main([*storage, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert f"blobs/{old}  (upload that became no chain)" in told
    assert "1 objects, 0.0 MB would be deleted" in told
    assert _files(folder) == {old, young}
    assert main(storage) == 0
    assert "1 objects, 0.0 MB were deleted" in capsys.readouterr().out
    assert _files(folder) == {young, "old.json"}
    assert main(storage) == 0
    assert "0 objects" in capsys.readouterr().out


def test_the_command_says_what_stopped_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "file").write_bytes(b"")
    assert main(["--storage", f"file:{folder}/file"]) == 1
    assert "nothing more is deleted" in capsys.readouterr().err
    assert len(_files(folder)) == 2


@pytest.mark.parametrize("wrong", [["--grace-hours", "0"], ["--keep-exports-days", "0.5"]])
def test_the_command_refuses_unsafe_retentions(folder: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--storage", f"file:{folder}", *wrong])
    assert refused.value.code == 2
    assert len(_files(folder)) == 2


def test_the_command_reads_the_deploy_file_that_the_server_reads(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """The storage and the retention: with a grace of a week, two days are young."""
    config = tmp_path_factory.mktemp("deploy") / "config.yaml"
    settings = f"storage: {{url: 'file:{folder}'}}, retention: {{grace_s: 604800}}"
    config.write_text(
        f"applications: [{{name: segue, import_path: 'serve_app.app:build', args: {{settings: {{{settings}}}}}}}]"
    )
    assert main(["--config", str(config)]) == 0
    assert len(_files(folder)) == 2
    assert main(["--config", str(config), "--grace-hours", "24"]) == 0
    assert not any(name.startswith("upload-old") for name in _files(folder))
    with pytest.raises(SystemExit):
        main(["--config", str(config.with_name("missing.yaml"))])


async def test_peaks_go_a_day_after_their_audio(store: AgingStore, collector: Collector) -> None:
    chain = await uploaded(store)
    audio = chain.nodes[0].audio
    assert audio is not None
    kept, gone = f"{audio.blob.sha256}-1", f"{'0' * 64}-1"
    for name in (kept, gone):
        await Peaks(store).keep(TENANT, name, b"outline")
    store.pass_time(DAY_S - 1)
    assert await collected(collector) == {}
    store.pass_time(1)
    assert await collected(collector) == {gone: Reason.OUTLINE}
    await Chains(store).delete(TENANT, "c")
    store.pass_time(2 * DAY_S)
    assert audio.blob.name in await collected(collector)
    assert await collected(collector) == {kept: Reason.OUTLINE}
