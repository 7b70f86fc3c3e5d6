"""Compare-and-swap: whatever the interleaving, whatever the network loses, changes happen once, in some order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.stores import document
from storage.stores.document import KEPT_WRITE_IDS, MAX_TRIES, Codec, Contended, Document
from storage.stores.local_folder import LocalFolderStore
from storage.stores.memory import MemoryStore
from storage.stores.object_store import (
    Condition,
    ObjectNotFound,
    ObjectStore,
    PreconditionFailed,
    StoreUnavailable,
)
from tests.storage.stepping import interleave
from tests.storage.unreliable import Luck, UnreliableStore

Log = tuple[str, ...]

KEY = "tenants/t/chains/c.json"
LOG: Codec[Log] = Codec(encode=lambda log: {"log": list(log)}, decode=lambda record: tuple(record["log"]))

schedules = st.lists(st.integers(0, 2), max_size=80)
programs = st.lists(st.integers(1, 3), min_size=2, max_size=3)
lucks = st.lists(st.sampled_from([Luck.FINE, Luck.FINE, *Luck]), max_size=24)


def log_in(store: ObjectStore) -> Document[Log]:
    return Document(store, KEY, LOG)


def appending(entry: str) -> Callable[[Log], Log]:
    return lambda log: (*log, entry)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between tries, others get a turn and no time passes."""
    monkeypatch.setattr(document, "_pause", lambda _: asyncio.sleep(0))


class TestInterleavings:
    """hypothesis chooses how many clients there are, what each does, and who takes each step."""

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(program=programs, schedule=schedules)
    def test_changes_happen_in_some_order_and_each_sees_all_before_it(
        self, program: list[int], schedule: list[int]
    ) -> None:
        store = MemoryStore()
        returned: dict[str, Log] = {}

        async def client(name: int, changes: int) -> None:
            await log_in(store).create(())
            for number in range(changes):
                entry = f"{name}.{number}"
                returned[entry] = await log_in(store).change(appending(entry))

        interleave([client(name, changes) for name, changes in enumerate(program)], schedule)
        log = read_log(store)
        assert sorted(log) == sorted(returned)
        for name, changes in enumerate(program):
            own = [entry for entry in log if entry.startswith(f"{name}.")]
            assert own == [f"{name}.{number}" for number in range(changes)]
        for place, entry in enumerate(log):
            assert returned[entry] == log[: place + 1]

    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(program=programs, schedule=schedules, luck=lucks)
    def test_on_a_bad_network_no_acknowledged_change_is_lost_and_none_happens_twice(
        self, program: list[int], schedule: list[int], luck: list[Luck]
    ) -> None:
        store = UnreliableStore([Luck.FINE, *luck])
        interleave([log_in(store).create(())], [])  # type: ignore[list-item]  # the result is of no interest
        acknowledged: dict[str, Log] = {}

        async def client(name: int, changes: int) -> None:
            for number in range(changes):
                entry = f"{name}.{number}"
                try:
                    acknowledged[entry] = await log_in(store).change(appending(entry))
                except StoreUnavailable:
                    continue  # this client cannot know whether it happened

        interleave([client(name, changes) for name, changes in enumerate(program)], schedule)
        log = read_log(store)
        assert len(log) == len(set(log))
        assert set(acknowledged) <= set(log)
        for entry, value in acknowledged.items():
            assert value == log[: log.index(entry) + 1]

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(clients=st.integers(2, 3), schedule=schedules, luck=lucks)
    def test_of_several_creators_one_creates_and_all_agree_on_the_value(
        self, clients: int, schedule: list[int], luck: list[Luck]
    ) -> None:
        store = UnreliableStore(luck)
        told: list[tuple[Log, bool]] = []
        unsure = 0

        async def client(name: int) -> None:
            nonlocal unsure
            try:
                told.append(await log_in(store).create((f"{name}",)))
            except StoreUnavailable:
                unsure += 1

        interleave([client(name) for name in range(clients)], schedule)
        created = [value for value, is_new in told if is_new]
        if told:
            assert {value for value, _ in told} == {read_log(store)}
        assert len(created) <= 1
        assert created or unsure or not told


class TestChanging:
    async def test_what_was_created_is_loaded(self) -> None:
        store = MemoryStore()
        assert await log_in(store).create(("a",)) == (("a",), True)
        assert await log_in(store).create(("b",)) == (("a",), False)
        assert await log_in(store).load() == ("a",)

    async def test_a_document_that_is_not_there_is_neither_loaded_nor_changed(self) -> None:
        with pytest.raises(ObjectNotFound):
            await log_in(MemoryStore()).load()
        with pytest.raises(ObjectNotFound):
            await log_in(MemoryStore()).change(appending("a"))

    async def test_an_edit_that_returns_its_argument_writes_nothing(self) -> None:
        store = UnreliableStore()
        await log_in(store).create(("a",))
        before = await store.get(KEY)
        assert await log_in(store).change(lambda log: log) == ("a",)
        assert await store.get(KEY) == before
        assert store.puts == 1

    async def test_an_edit_that_raises_writes_nothing(self) -> None:
        store = UnreliableStore()
        await log_in(store).create(("a",))

        def refuse(_: Log) -> Log:
            raise PermissionError("not on the spine")

        with pytest.raises(PermissionError, match="spine"):
            await log_in(store).change(refuse)
        assert (await log_in(store).load(), store.puts) == (("a",), 1)

    async def test_the_same_value_written_twice_never_has_the_same_etag(self) -> None:
        store = MemoryStore()
        await log_in(store).create(("a",))
        etags = [(await store.get(KEY)).etag]
        for log in [("b",), ("a",), ("b",), ("a",)]:
            await log_in(store).change(lambda _, log=log: log)  # type: ignore[misc]
            etags.append((await store.get(KEY)).etag)
        assert len(set(etags)) == len(etags)

    async def test_a_document_keeps_its_last_write_ids_newest_first(self) -> None:
        store = MemoryStore()
        await log_in(store).create(())
        kept: list[str] = []
        for number in range(KEPT_WRITE_IDS + 4):
            await log_in(store).change(appending(f"é{number}"))
            envelope = json.loads((await store.get(KEY)).data)
            assert envelope["write_ids"][1:] == kept[: KEPT_WRITE_IDS - 1] or number == 0
            kept = envelope["write_ids"]
        assert len(kept) == len(set(kept)) == KEPT_WRITE_IDS
        assert envelope["record"]["log"][-1] == f"é{KEPT_WRITE_IDS + 3}"

    async def test_what_is_not_json_is_refused_before_anything_is_written(self) -> None:
        store = UnreliableStore()
        await log_in(store).create(())
        numbers = Document(store, KEY, Codec(encode=lambda x: {"x": x}, decode=lambda _: 0.0))
        with pytest.raises(ValueError, match="JSON compliant"):
            await numbers.change(lambda _: float("nan"))
        assert store.puts == 1


class TestLostReplies:
    @pytest.mark.parametrize("luck", [Luck.REPLY_LOST, Luck.REPLY_LOST_AND_RETRIED_BELOW, Luck.REQUEST_LOST])
    async def test_a_change_is_made_once_and_reported_as_made(self, luck: Luck) -> None:
        store = UnreliableStore([Luck.FINE, luck])
        await log_in(store).create(())
        applied: Iterator[int] = iter(range(10))
        made = await log_in(store).change(lambda log: (*log, f"try {next(applied)}"))
        assert made == await log_in(store).load() == ("try 0",)

    @pytest.mark.parametrize("luck", [Luck.REPLY_LOST, Luck.REPLY_LOST_AND_RETRIED_BELOW, Luck.REQUEST_LOST])
    async def test_a_creation_is_reported_as_ones_own(self, luck: Luck) -> None:
        assert await log_in(UnreliableStore([luck])).create(("a",)) == (("a",), True)

    async def test_a_change_is_recognised_below_what_others_wrote_since(self) -> None:
        class OthersComeBetween(UnreliableStore):
            async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
                try:
                    return await super().put(key, data, condition)
                except StoreUnavailable:
                    for number in range(KEPT_WRITE_IDS - 1):
                        await log_in(self).change(appending(f"other {number}"))
                    raise

        store = OthersComeBetween([Luck.FINE, Luck.REPLY_LOST])
        await log_in(store).create(())
        assert await log_in(store).change(appending("mine")) == ("mine",)
        log = await log_in(store).load()
        assert (log[0], len(log), log.count("mine")) == ("mine", KEPT_WRITE_IDS, 1)

    async def test_a_store_that_does_not_answer_is_given_up_after_a_few_tries(self) -> None:
        store = UnreliableStore([Luck.FINE, *[Luck.REQUEST_LOST] * 50])
        await log_in(store).create(())
        with pytest.raises(StoreUnavailable, match="request was lost"):
            await log_in(store).change(appending("a"))
        assert (await log_in(store).load(), store.puts) == ((), 1 + MAX_TRIES)

    async def test_a_race_that_is_never_won_ends(self) -> None:
        class AlwaysLate(MemoryStore):
            async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
                if condition is not None and await self.list_folders(""):
                    raise PreconditionFailed(key)
                return await super().put(key, data, condition)

        store = AlwaysLate()
        await log_in(store).create(())
        with pytest.raises(Contended, match="races in a row"):
            await log_in(store).change(appending("a"))


async def test_real_threads_on_a_real_folder_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # with the real pauses
    store = LocalFolderStore(tmp_path, fsync=False)
    await log_in(store).create(())

    async def client(name: int) -> None:
        for number in range(15):
            await log_in(store).change(appending(f"{name}.{number}"))

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(lambda name=name: asyncio.run(client(name))) for name in range(4)]:  # type: ignore[misc]
            await asyncio.wrap_future(done)
    log = await log_in(store).load()
    assert sorted(log) == sorted(f"{name}.{number}" for name in range(4) for number in range(15))
    await store.close()


def read_log(store: ObjectStore) -> Log:
    """The log, read without an event loop. Raises ObjectNotFound."""
    read: list[Log] = []

    async def client() -> None:
        read.append(await log_in(store).load())

    interleave([client()], [])
    return read[0]
