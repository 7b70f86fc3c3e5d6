"""What every object store promises, whichever it is: `storage.stores.object_store.ObjectStore` as tests."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.stores.object_store import (
    BadKey,
    Condition,
    IfAbsent,
    IfMatch,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    PreconditionFailed,
    StoreUnavailable,
)

KEY = "tenants/t/chains/c.json"

BAD_KEYS = [
    "",
    "/",
    "/absolute",
    "a//b",
    "a/",
    "..",
    "a/../b",
    "a/./b",
    ".hidden",
    "a/.hidden/b",
    "a b",
    "a\\b",
    "a\0b",
    "a\n",
    "a*b",
    "chaîne",
    "和音/a",
    "x" * 256,
    "/".join(["x" * 200] * 6),
]


async def listed(store: ObjectStore, prefix: str = "", start_after: str = "") -> list[str]:
    return [info.key async for info in store.list(prefix, start_after=start_after)]


async def first(count: int, infos: AsyncIterator[ObjectInfo]) -> list[str]:
    keys: list[str] = []
    async for info in infos:
        keys.append(info.key)
        if len(keys) == count:
            break
    return keys


async def landed(store: ObjectStore, data: bytes, condition: Condition) -> bool:
    """Whether a conditional put among racers was the one to land.

    A server may leave a loser of the race in doubt (Ceph: 500); the same put again tells.
    """
    while True:
        try:
            await store.put(KEY, data, condition)
        except PreconditionFailed:
            return False
        except StoreUnavailable:
            continue
        return True


class TestReading:
    async def test_what_was_put_comes_back_with_the_etag_that_put_returned(self, store: ObjectStore) -> None:
        etag = await store.put(KEY, b"\x00\xff audio")
        stored = await store.get(KEY)
        assert (stored.data, stored.etag) == (b"\x00\xff audio", etag)

    async def test_an_empty_object_is_an_object(self, store: ObjectStore) -> None:
        etag = await store.put(KEY, b"")
        assert (await store.get(KEY)).data == b""
        info = await store.head(KEY)
        assert info.size_bytes == 0
        assert (await store.get(KEY)).etag == etag

    async def test_head_tells_size_and_time(self, store: ObjectStore) -> None:
        await store.put(KEY, b"12345")
        info = await store.head(KEY)
        assert (info.key, info.size_bytes) == (KEY, 5)
        assert info.modified_at.tzinfo is not None
        assert abs(datetime.now(UTC) - info.modified_at) < timedelta(minutes=1)

    async def test_a_later_put_replaces_the_whole_object(self, store: ObjectStore) -> None:
        first = await store.put(KEY, b"a long first version")
        second = await store.put(KEY, b"short")
        stored = await store.get(KEY)
        assert (stored.data, stored.etag) == (b"short", second)
        assert first != second

    @pytest.mark.parametrize("key", [KEY, "tenants/t/chains/c.json/below", "tenants/t", "nowhere/at/all"])
    async def test_no_object_is_told_apart_from_an_empty_one(self, store: ObjectStore, key: str) -> None:
        await store.put("tenants/t/chains/other.json", b"")
        if key.endswith("below"):
            await store.put(KEY, b"")
        for read in (store.get(key), store.head(key), store.get_range(key, 0, 1)):
            with pytest.raises(ObjectNotFound, match=key):
                await read

    @pytest.mark.parametrize(
        ("start", "length", "expected"),
        [
            (0, 10, b"0123456789"),
            (0, 3, b"012"),
            (4, 3, b"456"),
            (7, 3, b"789"),
            (7, 100, b"789"),
            (9, 1, b"9"),
            (10, 1, b""),
            (1000, 5, b""),
            (3, 0, b""),
        ],
    )
    async def test_ranges_stop_at_the_end(
        self, store: ObjectStore, start: int, length: int, expected: bytes
    ) -> None:
        await store.put(KEY, b"0123456789")
        assert await store.get_range(KEY, start, length) == expected

    @pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, -1)])
    async def test_a_negative_range_is_a_mistake(self, store: ObjectStore, start: int, length: int) -> None:
        await store.put(KEY, b"0123456789")
        with pytest.raises(ValueError, match="no range"):
            await store.get_range(KEY, start, length)

    async def test_a_large_object_survives_whole_and_in_parts(self, store: ObjectStore) -> None:
        data = b"".join(number.to_bytes(4, "big") for number in range(3_000_000))
        await store.put(KEY, data)
        assert (await store.get(KEY)).data == data
        assert await store.get_range(KEY, 11_000_003, 9) == data[11_000_003:11_000_012]


class TestKeys:
    @pytest.mark.parametrize("key", BAD_KEYS)
    async def test_a_key_that_could_leave_its_place_is_refused_everywhere(
        self, store: ObjectStore, key: str, tmp_path: Path
    ) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"x")
        for call in (
            store.get(key),
            store.head(key),
            store.get_range(key, 0, 1),
            store.put(key, b"x"),
            store.put(key, b"x", IfAbsent()),
            store.put_file(key, source),
            store.delete(key),
        ):
            with pytest.raises(BadKey):
                await call

    @pytest.mark.parametrize("prefix", ["/", "..", "../", "a/../", "a//", ".segue/", "a b/", "é/"])
    async def test_a_prefix_that_no_key_can_have_is_refused(self, store: ObjectStore, prefix: str) -> None:
        with pytest.raises(BadKey):
            await listed(store, prefix)
        with pytest.raises(BadKey):
            await store.list_folders(prefix)

    async def test_folders_are_asked_for_by_their_slash(self, store: ObjectStore) -> None:
        with pytest.raises(BadKey, match="not a folder"):
            await store.list_folders("tenants")

    async def test_names_that_only_look_alike_are_different_objects(self, store: ObjectStore) -> None:
        keys = ["a/b", "a-b", "a.b", "a_b", "a/b.", "a/b..c", "_", "-"]
        for key in keys:
            await store.put(key, key.encode())
        for key in keys:
            assert (await store.get(key)).data == key.encode()


class TestConditions:
    async def test_if_absent_creates_once(self, store: ObjectStore) -> None:
        etag = await store.put(KEY, b"first", IfAbsent())
        with pytest.raises(PreconditionFailed, match=KEY):
            await store.put(KEY, b"second", IfAbsent())
        stored = await store.get(KEY)
        assert (stored.data, stored.etag) == (b"first", etag)

    async def test_if_match_replaces_only_what_was_seen(self, store: ObjectStore) -> None:
        first = await store.put(KEY, b"first")
        second = await store.put(KEY, b"second", IfMatch(first))
        with pytest.raises(PreconditionFailed):
            await store.put(KEY, b"third", IfMatch(first))
        stored = await store.get(KEY)
        assert (stored.data, stored.etag) == (b"second", second)

    async def test_if_match_on_nothing_fails(self, store: ObjectStore) -> None:
        with pytest.raises(PreconditionFailed):
            await store.put(KEY, b"data", IfMatch("0" * 32))
        assert await listed(store) == []

    async def test_after_a_delete_the_key_is_absent_again(self, store: ObjectStore) -> None:
        etag = await store.put(KEY, b"first")
        await store.delete(KEY)
        with pytest.raises(PreconditionFailed):
            await store.put(KEY, b"second", IfMatch(etag))
        await store.put(KEY, b"second", IfAbsent())
        assert (await store.get(KEY)).data == b"second"

    async def test_the_stamp_of_head_and_list_changes_with_a_write_and_with_nothing_else(
        self, store: ObjectStore
    ) -> None:
        await store.put(KEY, b"first")
        first = await store.head(KEY)
        assert await store.head(KEY) == first
        await store.put(KEY, b"other")
        [info] = [info async for info in store.list("")]
        assert info == await store.head(KEY)
        assert info.stamp != first.stamp

    async def test_a_put_without_condition_also_fails_those_who_saw_less(self, store: ObjectStore) -> None:
        etag = await store.put(KEY, b"first")
        await store.put(KEY, b"forced")
        with pytest.raises(PreconditionFailed):
            await store.put(KEY, b"second", IfMatch(etag))


class TestFiles:
    async def test_a_file_becomes_an_object_and_stays_the_callers(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        source = tmp_path / "take.wav"
        data = bytes(range(256)) * 12_345
        source.write_bytes(data)
        etag = await store.put_file(KEY, source)
        assert source.read_bytes() == data
        source.write_bytes(b"the caller's next take")
        stored = await store.get(KEY)
        assert (stored.data, stored.etag) == (data, etag)

    async def test_equal_content_has_an_equal_etag_however_it_came(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        source = tmp_path / "take.wav"
        source.write_bytes(b"same")
        assert await store.put_file("a", source) == await store.put("b", b"same")

    async def test_a_missing_file_changes_nothing(self, store: ObjectStore, tmp_path: Path) -> None:
        await store.put(KEY, b"before")
        with pytest.raises(FileNotFoundError):
            await store.put_file(KEY, tmp_path / "nothing")
        assert (await store.get(KEY)).data == b"before"


class TestDeleting:
    async def test_a_deleted_object_is_gone_from_reads_and_lists(self, store: ObjectStore) -> None:
        await store.put(KEY, b"data")
        await store.delete(KEY)
        with pytest.raises(ObjectNotFound):
            await store.get(KEY)
        assert await listed(store) == []
        assert await store.list_folders("") == []

    @pytest.mark.parametrize("key", [KEY, "tenants/t", "tenants/t/chains/other.json/below"])
    async def test_deleting_nothing_is_no_error_and_no_loss(self, store: ObjectStore, key: str) -> None:
        await store.put("tenants/t/chains/other.json", b"data")
        await store.delete(key)
        assert await listed(store) == ["tenants/t/chains/other.json"]

    async def test_the_other_objects_of_a_folder_stay(self, store: ObjectStore) -> None:
        await store.put("a/b/c", b"1")
        await store.put("a/b/d", b"2")
        await store.delete("a/b/c")
        assert await listed(store) == ["a/b/d"]
        await store.put("a/b/c", b"3")
        assert await listed(store) == ["a/b/c", "a/b/d"]


class TestListing:
    async def test_keys_come_in_the_order_of_their_bytes(self, store: ObjectStore) -> None:
        in_order = ["A", "a-b", "a.b-c/d", "a.b.c", "a.b/c", "a/b", "a/b-/c", "a/b./c", "a0", "a_"]
        for key in reversed(in_order):
            await store.put(key, b"")
        assert await listed(store) == in_order == sorted(in_order, key=str.encode)

    async def test_a_prefix_need_not_end_at_a_slash(self, store: ObjectStore) -> None:
        for key in ["a/bc", "a/bcd/e", "a/bd", "ab", "b/bc"]:
            await store.put(key, b"")
        assert await listed(store, "a") == ["a/bc", "a/bcd/e", "a/bd", "ab"]
        assert await listed(store, "a/") == ["a/bc", "a/bcd/e", "a/bd"]
        assert await listed(store, "a/bc") == ["a/bc", "a/bcd/e"]
        assert await listed(store, "a/bc/") == []
        assert await listed(store, "nowhere/") == []

    async def test_pages_join_without_gap_or_repetition(self, store: ObjectStore) -> None:
        keys = [f"t/{number:04d}" for number in range(150)]
        for key in keys:
            await store.put(key, b"")
        collected: list[str] = []
        while page := await first(7, store.list("t/", start_after=collected[-1] if collected else "")):
            collected += page
        assert collected == keys

    async def test_listing_goes_on_after_a_key_that_has_gone(self, store: ObjectStore) -> None:
        for key in ["a/1", "a/2", "a/3"]:
            await store.put(key, b"")
        await store.delete("a/2")
        assert await listed(store, "a/", start_after="a/2") == ["a/3"]

    async def test_objects_that_go_during_a_listing_do_not_break_it(self, store: ObjectStore) -> None:
        keys = [f"t/{number:04d}" for number in range(200)]
        for key in keys:
            await store.put(key, b"x")
        seen: list[str] = []
        async for info in store.list("t/"):
            seen.append(info.key)
            if len(seen) == 1:
                for key in keys[1::2]:
                    await store.delete(key)
        assert seen == sorted(set(seen))
        assert set(keys[::2]) <= set(seen)

    async def test_folders_are_the_next_components_that_hold_objects(self, store: ObjectStore) -> None:
        for key in ["tenants/b/jobs/1", "tenants/a/jobs/1", "tenants/a/chains/1", "tenants/note", "x/y"]:
            await store.put(key, b"")
        await store.put("tenants/gone/jobs/deep/1", b"")
        await store.delete("tenants/gone/jobs/deep/1")
        assert await store.list_folders("tenants/") == ["a", "b"]
        assert await store.list_folders("tenants/a/") == ["chains", "jobs"]
        assert await store.list_folders("tenants/a/jobs/") == []
        assert await store.list_folders("") == ["tenants", "x"]
        assert await store.list_folders("nowhere/") == []

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    async def test_any_listing_equals_a_sorted_selection(
        self, store: ObjectStore, data: st.DataObject
    ) -> None:
        component = st.text("a-.0Z", min_size=1, max_size=3).filter(lambda text: text[0] != ".")
        key = st.lists(component, min_size=1, max_size=3).map("/".join)
        root = f"r{next(_fresh)}/"
        keys = _without_folders_of_others(data.draw(st.lists(key, max_size=12)))
        for one in keys:
            await store.put(root + one, b"")
        prefix = root + data.draw(st.one_of(st.just(""), key))
        start_after = data.draw(st.one_of(st.just(""), key.map(lambda after: root + after)))
        expected = sorted(
            root + one for one in keys if (root + one).startswith(prefix) and root + one > start_after
        )
        assert await listed(store, prefix, start_after) == expected


class TestConcurrency:
    async def test_of_many_creators_exactly_one_wins(self, store: ObjectStore) -> None:
        won = await asyncio.gather(*(landed(store, f"{number}".encode(), IfAbsent()) for number in range(32)))
        assert won.count(True) == 1
        assert (await store.get(KEY)).data == f"{won.index(True)}".encode()

    async def test_of_many_replacers_of_one_version_exactly_one_wins(self, store: ObjectStore) -> None:
        etag = await store.put(KEY, b"start")
        won = await asyncio.gather(
            *(landed(store, f"{number}".encode(), IfMatch(etag)) for number in range(32))
        )
        assert won.count(True) == 1
        assert (await store.get(KEY)).data == f"{won.index(True)}".encode()

    async def test_counting_from_threads_with_loops_of_their_own_loses_nothing(
        self, store: ObjectStore
    ) -> None:
        await store.put(KEY, b"0")

        async def count() -> None:
            for _ in range(10):
                seen = await store.get(KEY)
                while not await landed(store, b"%d" % (int(seen.data) + 1), IfMatch(seen.etag)):
                    seen = await store.get(KEY)

        await _in_threads([count] * 8)
        assert (await store.get(KEY)).data == b"80"

    async def test_a_reader_among_writers_sees_whole_objects_only(self, store: ObjectStore) -> None:
        size = 100_000
        await store.put(KEY, b"\0" * size)
        writers_left = 3

        async def write(letter: bytes) -> None:
            nonlocal writers_left
            for number in range(25):
                await store.put(KEY, letter * (size + number))
            writers_left -= 1

        async def read() -> None:
            while writers_left:
                data = (await store.get(KEY)).data
                assert len(data) >= size
                assert data == data[:1] * len(data)
                await asyncio.sleep(0.001)

        await _in_threads([lambda: write(b"a"), lambda: write(b"b"), lambda: write(b"c"), read, read])

    async def test_deleting_and_putting_neighbours_at_once_never_fails(self, store: ObjectStore) -> None:
        async def churn(name: str) -> None:
            for _ in range(40):
                await store.put(f"deep/er/folder/{name}", b"x")
                await store.delete(f"deep/er/folder/{name}")
            await store.put(f"deep/er/folder/{name}", b"kept")

        await asyncio.gather(*(churn(name) for name in "abcd"))
        assert await listed(store) == [f"deep/er/folder/{name}" for name in "abcd"]


_fresh = itertools.count()


def _without_folders_of_others(keys: list[str]) -> set[str]:
    kept: set[str] = set()
    for key in keys:
        if not any(key.startswith(f"{other}/") or other.startswith(f"{key}/") for other in kept):
            kept.add(key)
    return kept


async def _in_threads(works: list[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    """Run each piece of work in its own thread, on its own event loop."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(len(works)) as threads:
        runs = [loop.run_in_executor(threads, lambda work: asyncio.run(work()), work) for work in works]
        await asyncio.gather(*runs)
