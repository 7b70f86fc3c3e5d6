"""The bound on unfinished jobs: it holds under any concurrency, and whatever takes a place gives it back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from configs.settings import StorageSettings
from storage import paths
from storage.domain.accounts import Account, NoRoom, give_back, reserve
from storage.domain.jobs import JobState, finish
from storage.repositories.accounts import Accounts
from storage.repositories.jobs import JobKey, Jobs
from storage.stores.local_folder import LocalFolderStore
from storage.stores.memory import MemoryStore
from storage.stores.object_store import ObjectStore
from tests.storage.domain.builders import queued_job

MOST = 10


@pytest.fixture(params=["memory", "local_folder", "s3"])
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
            await everyone[number % len(everyone)].admit("t", ids, MOST)
        except NoRoom:
            return 0
        return len(ids)

    taken = sum(await asyncio.gather(*(ask(number) for number in range(64))))
    assert MOST - 2 <= taken <= MOST
    assert len(await everyone[0].active_of("t")) == taken


async def test_a_place_comes_back_however_the_job_ends(stores: list[ObjectStore]) -> None:
    jobs = Jobs(stores[0])
    for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED):
        await jobs.admit("t", [state.value], 1)
        await jobs.create(replace(queued_job(), id=state.value, tenant="t"))
        with pytest.raises(NoRoom):
            await Jobs(stores[1]).admit("t", ["another"], 1)
        await jobs.change("t", state.value, lambda job, now, state=state: finish(job, state, now))  # type: ignore[misc]
    await jobs.require_room("t", 1, 1)


async def test_a_leak_heals_by_itself() -> None:
    """The marker is gone and the place is not: its holder died between the two."""
    store = MemoryStore()
    jobs = Jobs(store)
    await jobs.admit("t", ["dead", "alive"], 2)
    await store.delete(paths.active("t", "dead"))
    await jobs.admit("t", ["new"], 2)
    with pytest.raises(NoRoom):
        await jobs.admit("t", ["newer"], 2)


async def test_a_damaged_account_is_made_anew_of_the_markers() -> None:
    store = MemoryStore()
    jobs = Jobs(store)
    await jobs.admit("t", ["a", "b"], 2)
    await store.put(paths.account("t"), b"torn")
    with pytest.raises(NoRoom):
        await jobs.admit("t", ["c"], 2)
    await jobs.admit("t", ["c"], 3)


async def test_jobs_from_before_accounts_count() -> None:
    store = MemoryStore()
    await store.put(paths.active("t", "old"), b"")
    with pytest.raises(NoRoom):
        await Jobs(store).admit("t", ["new"], 1)


async def test_a_refusal_leaves_nothing() -> None:
    store = MemoryStore()
    jobs = Jobs(store)
    await jobs.admit("t", ["a"], 2)
    with pytest.raises(NoRoom, match="1 jobs are unfinished, and at most 2"):
        await Accounts(store).reserve("t", ["b", "c"], 2)
    with pytest.raises(NoRoom):
        await jobs.admit("t", ["b", "c"], 2)
    assert await jobs.active_of("t") == [JobKey("t", "a")]


def test_places_are_all_or_none_and_twice_is_once() -> None:
    account = reserve(Account("t"), ["a", "b", "a"], 2)
    assert account.unfinished == ("a", "b")
    assert reserve(account, ["b"], 2) is account
    with pytest.raises(NoRoom):
        reserve(account, ["c"], 2)
    assert reserve(account, ["c"], 2, ended={"a"}).unfinished == ("b", "c")
    assert give_back(give_back(account, ["a"]), ["a"]).unfinished == ("b",)
