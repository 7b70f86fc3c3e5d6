"""The bound on unfinished jobs: it holds under any concurrency, and whatever takes a place gives it back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from configs.settings import StorageSettings
from storage import paths
from storage.domain.accounts import (
    NOTHING,
    Account,
    Amounts,
    Held,
    Limits,
    NoRoom,
    jobs_of,
    reserve,
    settle,
)
from storage.domain.jobs import JobState, finish
from storage.repositories.accounts import RECENT_DAYS, Accounts
from storage.repositories.blobs import Blobs
from storage.repositories.jobs import JobKey, Jobs
from storage.stores.clock import utc_now
from storage.stores.local_folder import LocalFolderStore
from storage.stores.memory import MemoryStore
from storage.stores.object_store import ObjectStore
from tests.storage.domain.builders import queued_job

MOST = 10
NOW = utc_now()


async def admit(jobs: Jobs, ids: Iterable[str], most: int) -> None:
    await jobs.admit("t", jobs_of(ids), Limits(unfinished_jobs=most))


STORES = ("memory", "local_folder", "s3")


@pytest.fixture(params=STORES)
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[ObjectStore]]:
    """Four ways to one store, as four processes have them."""
    made: list[ObjectStore]
    if request.param == "memory":
        made = [MemoryStore()] * 4
    elif request.param == "local_folder":
        made = [LocalFolderStore(tmp_path / "data", fsync=False) for _ in range(4)]
    else:
        from storage.stores.s3 import S3Store

        settings: StorageSettings = request.getfixturevalue("s3_settings")
        made = [S3Store(settings) for _ in range(4)]
    yield made
    for store in made:
        await store.close()


async def test_the_bound_holds_when_many_ask_at_once(stores: list[ObjectStore]) -> None:
    everyone = [Jobs(store) for store in stores]

    async def ask(number: int) -> int:
        ids = [f"job-{number}-{take}" for take in range(number % 3 + 1)]
        try:
            await admit(everyone[number % len(everyone)], ids, MOST)
        except NoRoom:
            return 0
        return len(ids)

    taken = sum(await asyncio.gather(*(ask(number) for number in range(64))))
    assert MOST - 2 <= taken <= MOST
    assert len(await everyone[0].active_of("t")) == taken


async def test_a_place_comes_back_however_the_job_ends(stores: list[ObjectStore]) -> None:
    jobs = Jobs(stores[0])
    for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED):
        await admit(jobs, [state.value], 1)
        await jobs.create(replace(queued_job(), id=state.value, tenant="t"))
        with pytest.raises(NoRoom):
            await admit(Jobs(stores[1]), ["another"], 1)
        await jobs.change("t", state.value, lambda job, now, state=state: finish(job, state, now))  # type: ignore[misc]
    await jobs.accounts.require_room("t", Amounts(jobs=1), Limits(unfinished_jobs=1))


async def test_a_leak_heals_by_itself() -> None:
    """The marker is gone and the place is not: its holder died between the two."""
    store = MemoryStore()
    jobs = Jobs(store)
    await admit(jobs, ["dead", "alive"], 2)
    await store.delete(paths.active("t", "dead"))
    await admit(jobs, ["new"], 2)
    with pytest.raises(NoRoom):
        await admit(jobs, ["newer"], 2)


async def test_a_damaged_account_is_made_anew_of_the_markers() -> None:
    store = MemoryStore()
    jobs = Jobs(store)
    await admit(jobs, ["a", "b"], 2)
    await store.put(paths.account("t"), b"torn")
    with pytest.raises(NoRoom):
        await admit(jobs, ["c"], 2)
    await admit(jobs, ["c"], 3)


async def test_jobs_from_before_accounts_count() -> None:
    store = MemoryStore()
    await store.put(paths.active("t", "old"), b"")
    with pytest.raises(NoRoom):
        await admit(Jobs(store), ["new"], 1)


async def test_a_refusal_leaves_nothing() -> None:
    store = MemoryStore()
    jobs = Jobs(store)
    await admit(jobs, ["a"], 2)
    with pytest.raises(NoRoom, match="1 jobs are unfinished, and at most 2"):
        await Accounts(store).reserve("t", jobs_of(["b", "c"]), Limits(unfinished_jobs=2))
    with pytest.raises(NoRoom):
        await admit(jobs, ["b", "c"], 2)
    assert await jobs.active_of("t") == [JobKey("t", "a")]


def test_places_are_all_or_none_and_twice_is_once() -> None:
    two = Limits(unfinished_jobs=2)
    account = reserve(Account("t"), jobs_of(["a", "b"]), two, NOW)
    assert account.unfinished == ("a", "b")
    assert reserve(account, jobs_of(["b"]), two, NOW) is account
    with pytest.raises(NoRoom):
        reserve(account, jobs_of(["c"]), two, NOW)
    assert reserve(account, jobs_of(["c"]), two, NOW, ended={"a": NOTHING}).unfinished == ("b", "c")
    assert settle(settle(account, {"a": NOTHING}, NOW), {"a": NOTHING}, NOW).unfinished == ("b",)


LIMITED = [
    ("unfinished_jobs", "jobs", 1),
    ("gpu_s_per_day", "gpu_s", 2.5),
    ("audio_s_per_day", "audio_s", 30.0),
    ("stored_bytes", "stored_bytes", 1000),
    ("upload_bytes_per_day", "upload_bytes", 1000),
]


# What a limit counts is arithmetic, the same over every store; that requests race is the same for every limit.
@pytest.mark.parametrize(
    ("stores", "limit", "name", "each"),
    [("memory", *limited) for limited in LIMITED]
    + [(store, *LIMITED[1]) for store in STORES if store != "memory"],
    indirect=["stores"],
)
async def test_every_limit_holds_exactly_when_64_ask_at_once(
    stores: list[ObjectStore], limit: str, name: str, each: float
) -> None:
    """Room for ten: ten get it, whoever they ask; and when they have ended having taken half, five more."""
    accounts = [Accounts(store, lambda: NOW) for store in stores]
    limits, wanted = Limits(**{limit: 10 * each}), Amounts(**{name: each})

    refusals: list[NoRoom] = []

    async def ask(number: int) -> str | None:
        work = f"work-{number}"
        held = Held("tool", wanted, NOW + timedelta(days=1))
        try:
            await accounts[number % len(accounts)].reserve("t", {work: held}, limits)
        except NoRoom as error:
            refusals.append(error)
            return None
        return work

    granted = [work for work in await asyncio.gather(*(ask(number) for number in range(64))) if work]
    assert len(granted) == 10
    assert {(error.limit.value, error.most) for error in refusals} == {(limit, 10 * each)}
    half = Amounts(**{name: type(each)(each / 2)})
    for work in granted:
        await accounts[0].settle("t", {work: half})
        await accounts[1].settle("t", {work: half})  # again is the same
    more = [work for work in await asyncio.gather(*(ask(number) for number in range(64, 128))) if work]
    is_daily = limit.endswith("_per_day")
    assert len(more) == (5 if is_daily else 10)  # of the others nothing is left: no job, and no blob either
    used = (await accounts[2].read("t")).used_on(NOW.date())
    if is_daily:
        assert getattr(used, name) == 5 * each


async def test_what_a_dead_process_held_comes_back() -> None:
    store, clock = MemoryStore(), [NOW]
    accounts = Accounts(store, lambda: clock[0])
    held = {"tool-1": Held("tool", Amounts(jobs=1, gpu_s=9.0), NOW + timedelta(hours=2))}
    limits = Limits(gpu_s_per_day=10.0)
    await accounts.reserve("t", held, limits)
    with pytest.raises(NoRoom):
        await accounts.reserve("t", {"tool-2": next(iter(held.values()))}, limits)
    clock[0] += timedelta(hours=3)
    await accounts.reserve("t", {"tool-2": Held("tool", Amounts(gpu_s=9.0))}, limits)


async def test_a_new_day_has_all_of_it_again_and_the_old_ones_are_kept() -> None:
    store, clock = MemoryStore(), [NOW]
    accounts = Accounts(store, lambda: clock[0])
    limits = Limits(audio_s_per_day=10.0)
    for day in range(5):
        clock[0] = NOW + timedelta(days=day)
        work = {f"tool-{day}": Held("tool", Amounts(audio_s=10.0), clock[0] + timedelta(hours=1))}
        await accounts.reserve("t", work, limits)
        await accounts.settle("t", {next(iter(work)): Amounts(jobs=1, audio_s=10.0 - day)})
        with pytest.raises(NoRoom):
            await accounts.reserve("t", {"more": Held("tool", Amounts(audio_s=9.0))}, limits)
    days = await accounts.days("t", NOW.date(), clock[0].date())
    assert [used["tool"].audio_s for used in days.values()] == [10.0, 9.0, 8.0, 7.0, 6.0]
    assert len((await accounts.read("t")).days) == RECENT_DAYS
    assert len(await accounts.days("t", NOW.date(), NOW.date())) == 1


async def test_what_was_deleted_makes_room_when_it_is_gone() -> None:
    store = MemoryStore()
    accounts, blobs = Accounts(store), Blobs(store)
    limits = Limits(stored_bytes=100)
    held = Held("upload", Amounts(stored_bytes=80), NOW + timedelta(days=400))
    await accounts.reserve("t", {"first": held}, limits)
    ref = await blobs.put("t", "upload-a", bytes(80))
    await accounts.settle("t", {"first": Amounts(stored_bytes=80)})
    with pytest.raises(NoRoom, match="80 bytes are stored"):
        await accounts.reserve("t", {"second": held}, limits)
    await blobs.delete("t", ref)
    await accounts.reserve("t", {"second": held}, limits)
