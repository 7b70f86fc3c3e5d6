"""Jobs as they are kept: a marker for as long as somebody may have to work on one, and never shorter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from storage import paths
from storage.domain.jobs import Job, JobKind, JobNotFound, JobState, claim, finish, request_cancel
from storage.domain.model import Fenced
from storage.repositories.jobs import JobKey, Jobs
from storage.stores.memory import MemoryStore
from storage.stores.object_store import StoreUnavailable
from tests.storage.domain.builders import NOW, START, queued_job
from tests.support.faulty_store import FaultyStore, Outage


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def jobs(store: MemoryStore) -> Jobs:
    return Jobs(store, clock=lambda: NOW)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(_: int) -> None:
        return None

    monkeypatch.setattr("storage.stores.document._pause", none)


def ending(state: JobState) -> Callable[[Job, datetime], Job]:
    return lambda job, now: finish(job, state, now)


def claiming(job: Job, now: datetime) -> Job:
    return claim(job, lease_s=12.0, max_attempts=3, stale=None, now=now)


async def test_a_new_job_is_found_and_active(jobs: Jobs) -> None:
    assert await jobs.create(queued_job()) == (queued_job(), True)
    assert await jobs.load("t", "job") == queued_job()
    assert await jobs.active() == [JobKey("t", "job")]


async def test_creating_again_gives_the_first(jobs: Jobs) -> None:
    await jobs.create(queued_job())
    other = replace(queued_job(), params={"chain_id": "another"})
    assert await jobs.create(other) == (queued_job(), False)


async def test_creating_a_finished_job_again_does_not_wake_it(jobs: Jobs) -> None:
    await jobs.create(queued_job())
    ended = await jobs.change("t", "job", ending(JobState.SUCCEEDED))
    assert await jobs.create(queued_job()) == (ended, False)
    assert await jobs.active() == []


@pytest.mark.parametrize("state", [state for state in JobState if state.is_finished])
async def test_the_marker_goes_with_the_end_and_the_record_stays(jobs: Jobs, state: JobState) -> None:
    await jobs.create(queued_job())
    await jobs.change("t", "job", claiming)
    assert await jobs.active() == [JobKey("t", "job")]
    await jobs.change("t", "job", ending(state))
    assert await jobs.active() == []
    assert (await jobs.load("t", "job")).state is state


async def test_cancelling_a_queued_export_ends_it(jobs: Jobs) -> None:
    await jobs.create(replace(queued_job(), kind=JobKind.EXPORT))
    await jobs.change("t", "job", request_cancel)
    assert await jobs.active() == []


async def test_a_refused_change_leaves_the_record_and_the_marker(jobs: Jobs) -> None:
    await jobs.create(queued_job())
    with pytest.raises(Fenced):
        await jobs.change("t", "job", lambda job, now: finish(job, JobState.SUCCEEDED, now, fence=7))
    assert await jobs.load("t", "job") == queued_job()
    assert await jobs.active() == [JobKey("t", "job")]


async def test_active_jobs_of_all_tenants_are_found(jobs: Jobs) -> None:
    for tenant, job_id in (("a", "1"), ("a", "2"), ("b", "1")):
        await jobs.create(replace(queued_job(job_id), tenant=tenant))
    await jobs.change("a", "1", ending(JobState.FAILED))
    assert await jobs.active() == [JobKey("a", "2"), JobKey("b", "1")]
    assert await jobs.active_of("a") == [JobKey("a", "2")]
    assert await jobs.active_of("nobody") == []


@pytest.mark.parametrize("job_id", ["nothing", "../job", "", "a/b"])
async def test_an_id_that_is_none_is_not_found(jobs: Jobs, job_id: str) -> None:
    assert await jobs.find("t", job_id) is None
    with pytest.raises(JobNotFound):
        await jobs.load("t", job_id)
    with pytest.raises(JobNotFound):
        await jobs.change("t", job_id, ending(JobState.FAILED))


@pytest.mark.parametrize("step", range(6))
async def test_a_crash_while_creating_or_ending_never_hides_an_unfinished_job(step: int) -> None:
    store = FaultyStore(Outage(("put", "delete"), spared=step))
    jobs = Jobs(store, clock=lambda: NOW)
    try:
        await jobs.create(queued_job())
        await jobs.change("t", "job", ending(JobState.SUCCEEDED))
    except StoreUnavailable:
        pass
    store.outage = None
    job = await jobs.find("t", "job")
    if job is not None and not job.state.is_finished:
        assert await jobs.active() == [JobKey("t", "job")]
    if job is not None:
        assert [listed.id for listed in (await jobs.page("t")).jobs] == ["job"]


async def test_pages_are_newest_first_and_join(jobs: Jobs) -> None:
    for number in (2, 0, 1):
        await jobs.create(replace(queued_job(f"j{number}"), created_at=START + timedelta(seconds=number)))
    first = await jobs.page("t", limit=2)
    assert first.cursor is not None
    second = await jobs.page("t", cursor=first.cursor, limit=2)
    assert [job.id for job in (*first.jobs, *second.jobs)] == ["j2", "j1", "j0"]
    assert second.cursor is None


async def test_a_list_does_not_show_what_a_crash_left_without_a_record(
    jobs: Jobs, store: MemoryStore
) -> None:
    entry = paths.timeline_folder("t", "jobs") + paths.timeline_entry(NOW, "never-written")
    await store.put(entry, b"")
    assert (await jobs.page("t")).jobs == ()
