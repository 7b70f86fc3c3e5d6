# ruff: noqa: ASYNC240 - the folders here are small and local
"""What a local folder promises beyond the contract: several processes, crashes, tidiness, plain errors."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.stores.local_folder import LOCK_STRIPES, TEMPORARY_LIFE_S, LocalFolderStore
from storage.stores.object_store import (
    BadKey,
    IfAbsent,
    IfMatch,
    ObjectNotFound,
    StoreFull,
    StoreMissing,
    StoreReadOnly,
    StoreUnavailable,
)
from tests.storage.stores.local_folder_writer import payload, version_of
from tests.support.patience import PATIENCE_S

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[LocalFolderStore]:
    made = LocalFolderStore(root)
    yield made
    await made.close()


def spawn(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.storage.stores.local_folder_writer", *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def temporary_files(root: Path) -> list[Path]:
    return list((root / ".segue" / "tmp").iterdir())


class TestOneFolder:
    async def test_a_key_is_the_path_of_a_file(self, store: LocalFolderStore, root: Path) -> None:
        await store.put("tenants/t/blobs/a", b"bytes")
        assert (root / "tenants" / "t" / "blobs" / "a").read_bytes() == b"bytes"

    async def test_nothing_appears_beside_the_data(self, store: LocalFolderStore, root: Path) -> None:
        etag = await store.put("a/b", b"1", IfAbsent())
        await store.put("a/b", b"2", IfMatch(etag))
        await store.put("a/c", b"3")
        await store.delete("a/c")
        visible = [name for name in files_below(root) if not name.startswith(".segue/")]
        assert visible == ["a/b"]
        assert temporary_files(root) == []

    async def test_lock_files_are_a_fixed_set(self, store: LocalFolderStore, root: Path) -> None:
        await asyncio.gather(*(store.put(f"a/{number}", b"") for number in range(300)))
        assert len(list((root / ".segue" / "locks").iterdir())) <= 64

    async def test_hidden_files_are_never_listed(self, store: LocalFolderStore, root: Path) -> None:
        await store.put("a/b", b"")
        (root / "a" / ".DS_Store").write_bytes(b"")
        (root / ".hidden").mkdir()
        (root / ".hidden" / "file").write_bytes(b"")
        assert [info.key async for info in store.list("")] == ["a/b"]
        assert await store.list_folders("") == ["a"]

    async def test_a_second_store_on_the_folder_finds_everything(
        self, store: LocalFolderStore, root: Path
    ) -> None:
        etag = await store.put("a/b", b"kept")
        again = LocalFolderStore(root)
        stored = await again.get("a/b")
        assert (stored.data, stored.etag) == (b"kept", etag)
        await again.close()

    async def test_a_key_cannot_be_a_folder_of_another(self, store: LocalFolderStore, root: Path) -> None:
        await store.put("a/b", b"1")
        for key in ("a", "a/b/c"):
            with pytest.raises(BadKey, match=key):
                await store.put(key, b"2")
        assert (await store.get("a/b")).data == b"1"
        assert temporary_files(root) == []

    async def test_a_folder_removed_by_hand_is_made_again(self, store: LocalFolderStore, root: Path) -> None:
        await store.put("a/b/c", b"1")
        (root / "a" / "b" / "c").unlink()
        (root / "a" / "b").rmdir()
        (root / "a").rmdir()
        await store.put("a/b/c", b"2")
        assert (await store.get("a/b/c")).data == b"2"


class TestCrashes:
    async def test_old_temporary_files_are_swept_and_young_ones_kept(self, root: Path) -> None:
        await LocalFolderStore(root).close()
        old, young = root / ".segue" / "tmp" / "old", root / ".segue" / "tmp" / "young"
        for path in (old, young):
            path.write_bytes(b"half a put")
        long_ago = time.time() - TEMPORARY_LIFE_S - 60
        os.utime(old, (long_ago, long_ago))
        await LocalFolderStore(root).close()
        assert temporary_files(root) == [young]

    async def test_content_and_every_new_folder_are_synced_before_a_put_returns(
        self, store: LocalFolderStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: set[int] = set()
        fsync = os.fsync

        def watched(descriptor: int) -> None:
            fsync(descriptor)
            synced.add(os.fstat(descriptor).st_ino)

        monkeypatch.setattr(os, "fsync", watched)
        await store.put("a/b/c", b"data")
        must = {root, root / "a", root / "a" / "b", root / "a" / "b" / "c"}
        assert {path.stat().st_ino for path in must} <= synced

    async def test_killed_writers_leave_whole_objects_and_every_acknowledged_one(self, root: Path) -> None:
        chance = random.Random(1234)
        reader = LocalFolderStore(root)
        for life in range(8):
            name = f"life-{life}"
            with spawn("append", str(root), name) as writer:
                assert writer.stdout is not None
                acknowledged = int(writer.stdout.readline())
                await asyncio.sleep(chance.uniform(0, 0.06))
                writer.send_signal(signal.SIGKILL)
                acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
            latest = version_of((await reader.get(f"{name}/latest")).data)
            assert acknowledged <= latest <= acknowledged + 1
            versions = [info.key async for info in reader.list(f"{name}/versions/")]
            assert len(versions) in (acknowledged + 1, acknowledged + 2)
            for number, key in enumerate(versions):
                assert (await reader.get(key)).data == payload(number)
            # The lock died with its holder: the next writer does not wait for it.
            await asyncio.wait_for(reader.put(f"{name}/latest", b"next"), timeout=PATIENCE_S)
        await reader.close()


class TestSeveralProcesses:
    async def test_eight_processes_counting_lose_nothing(self, store: LocalFolderStore, root: Path) -> None:
        await store.put("counter", b"0")
        counters = [spawn("count", str(root), "counter", "50") for _ in range(8)]
        for counter in counters:
            counter.communicate(timeout=60)
        assert [counter.returncode for counter in counters] == [0] * 8
        assert (await store.get("counter")).data == b"400"

    async def test_readers_never_wait_for_a_writer(self, store: LocalFolderStore, root: Path) -> None:
        await store.put("a/b", b"data")
        lock = root / ".segue" / "locks" / f"{zlib.crc32(b'a/b') % LOCK_STRIPES:02d}"
        with lock.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            blocked = asyncio.create_task(store.put("a/b", b"later"))
            assert (await asyncio.wait_for(store.get("a/b"), timeout=PATIENCE_S)).data == b"data"
            assert [info.key async for info in store.list("")] == ["a/b"]
            assert not blocked.done()
            fcntl.flock(held, fcntl.LOCK_UN)
        await asyncio.wait_for(blocked, timeout=PATIENCE_S)
        assert (await store.get("a/b")).data == b"later"


class TestErrors:
    async def test_a_root_that_is_a_file_is_unusable(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StoreUnavailable, match=r"cannot use .*file"):
            LocalFolderStore(tmp_path / "file")

    @pytest.mark.parametrize(
        ("number", "reason"), [(errno.ENOSPC, "No space left"), (errno.EACCES, "Permission denied")]
    )
    async def test_a_refused_write_says_why_and_changes_nothing(
        self, store: LocalFolderStore, root: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
    ) -> None:
        await store.put("a/b", b"before")

        def refuse(_: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(StoreUnavailable, match=f"cannot write a/b: {reason}") as caught:
            await store.put("a/b", b"after")
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == number
        monkeypatch.undo()
        assert (await store.get("a/b")).data == b"before"
        assert temporary_files(root) == []

    async def test_an_unreadable_file_is_not_a_missing_one(self, store: LocalFolderStore, root: Path) -> None:
        (root / "loop").symlink_to(root / "loop")
        with pytest.raises(StoreUnavailable, match="cannot read loop"):
            await store.get("loop")

    async def test_a_key_too_long_for_the_store_is_refused_not_cut(self, store: LocalFolderStore) -> None:
        await store.put("x" * 255, b"")
        with pytest.raises(BadKey):
            await store.put("x" * 256, b"")
        with pytest.raises(ObjectNotFound):
            await store.get("x" * 254)


class TestARootThatGoesAway:
    """As a volume that is unmounted, or a folder that is deleted or moved under a running server."""

    @pytest.mark.parametrize("leave_the_mount_point", [True, False])
    async def test_it_is_missing_and_never_empty_until_it_is_back(
        self, store: LocalFolderStore, root: Path, leave_the_mount_point: bool
    ) -> None:
        etag = await store.put("tenants/t/a", b"kept")
        away = root.rename(root.parent / "away")
        if leave_the_mount_point:
            root.mkdir()
        for operation in (
            lambda: store.get("tenants/t/a"),
            lambda: store.get_range("tenants/t/a", 0, 1),
            lambda: store.head("tenants/t/a"),
            lambda: store.put("tenants/t/a", b"new", IfMatch(etag)),
            lambda: store.put("tenants/t/b", b"new"),
            lambda: store.delete("tenants/t/a"),
            lambda: store.list_folders("tenants/"),
            lambda: anext(store.list("tenants/")),
        ):
            with pytest.raises(StoreMissing):
                await operation()
        assert not leave_the_mount_point or list(root.iterdir()) == []
        if leave_the_mount_point:
            root.rmdir()
        away.rename(root)
        assert (await store.get("tenants/t/a")).data == b"kept"
        await store.put("tenants/t/b", b"new")
        assert [info.key async for info in store.list("")] == ["tenants/t/a", "tenants/t/b"]

    async def test_a_first_start_on_an_empty_mount_point_can_be_refused(
        self, store: LocalFolderStore, root: Path, tmp_path: Path
    ) -> None:
        mount_point = tmp_path / "mount"
        mount_point.mkdir()
        for folder in (mount_point, tmp_path / "nothing"):
            with pytest.raises(StoreMissing, match="volume"):
                LocalFolderStore(folder, require_existing=True)
        assert list(mount_point.iterdir()) == []
        assert not (tmp_path / "nothing").exists()
        await store.put("a", b"kept")
        again = LocalFolderStore(root, require_existing=True)
        assert (await again.get("a")).data == b"kept"
        await again.close()

    async def test_another_store_in_its_place_is_not_taken_for_it(
        self, store: LocalFolderStore, root: Path
    ) -> None:
        await store.put("a", b"kept")
        root.rename(root.parent / "away")
        other = LocalFolderStore(root)
        with pytest.raises(StoreMissing, match="another data folder"):
            await store.put("a", b"new")
        assert [info async for info in other.list("")] == []
        await other.close()

    async def test_stores_that_open_a_new_root_together_agree_on_its_identity(self, root: Path) -> None:
        stores = await asyncio.gather(*(asyncio.to_thread(LocalFolderStore, root) for _ in range(8)))
        for number, store in enumerate(stores):
            await store.put(f"a/{number}", b"")
        assert len([info async for info in stores[0].list("")]) == 8
        for store in stores:
            await store.close()


async def test_listing_and_head_read_no_content(store: LocalFolderStore, root: Path) -> None:
    await store.put("a/b", b"audio")
    (root / "a" / "b").chmod(0)  # may be looked at, not read
    if os.access(root / "a" / "b", os.R_OK):
        opened: list[str] = []
        sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    else:
        opened = []
    assert (await store.head("a/b")).size_bytes == 5
    assert [info.size_bytes async for info in store.list("a/")] == [5]
    assert str(root / "a" / "b") not in opened


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EROFS, StoreReadOnly),
        (errno.EACCES, StoreReadOnly),
    ],
)
async def test_a_refused_write_has_its_kind(
    store: LocalFolderStore, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StoreUnavailable]
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(kind):
        await store.put("a/b", b"data")
