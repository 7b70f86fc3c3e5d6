"""What S3 adds to the contract: lost replies, several processes, forks, parts, prefixes, presigned URLs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from configs.settings import StorageSettings
from storage.stores.document import Document
from storage.stores.object_store import IfAbsent, IfMatch, StoreUnavailable
from storage.stores.presigned_urls import Presigns
from storage.stores.s3 import S3Store
from storage.stores.s3.address import S3Address
from storage.stores.s3.connections import MULTIPART_BYTES
from tests.storage.stores.s3_process import NUMBER
from tests.storage.stores.s3_proxy import Answer, Fault, Proxy, Request, Treatment, running_proxy
from tests.storage.stores.s3_servers import BUCKET, S3Server

KEY = "tenants/t/chains/c.json"
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
async def store(s3_settings: StorageSettings) -> AsyncIterator[S3Store]:
    made = S3Store(s3_settings)
    yield made
    await made.close()


@pytest.fixture
def proxy(s3_settings: StorageSettings) -> Iterator[Proxy]:
    assert s3_settings.endpoint_url is not None
    with running_proxy(s3_settings.endpoint_url) as running:
        yield running


@pytest.fixture
async def far_store(s3_settings: StorageSettings, proxy: Proxy) -> AsyncIterator[S3Store]:
    """The same place as `store`, by way of `proxy`."""
    made = S3Store(s3_settings.model_copy(update={"endpoint_url": proxy.endpoint_url}))
    yield made
    await made.close()


async def keys_of(store: S3Store, prefix: str = "", start_after: str = "") -> list[str]:
    return [info.key async for info in store.list(prefix, start_after=start_after)]


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "bucket", "folder"),
        [
            ("s3://music", "music", ""),
            ("s3://music/", "music", ""),
            ("s3://music/segue", "music", "segue/"),
            ("s3://music/a/b.c/", "music", "a/b.c/"),
        ],
    )
    def test_a_url_names_a_bucket_and_perhaps_a_prefix(self, url: str, bucket: str, folder: str) -> None:
        assert S3Address.parse(url) == S3Address(bucket, folder)

    async def test_stores_below_different_prefixes_of_a_bucket_do_not_see_each_other(
        self, s3_settings: StorageSettings
    ) -> None:
        def below(prefix: str) -> S3Store:
            return S3Store(s3_settings.model_copy(update={"url": f"{s3_settings.url}/{prefix}"}))

        one, other, whole = below("a"), below("ab"), S3Store(s3_settings)
        await one.put("t/1", b"one")
        await other.put("t/1", b"other", IfAbsent())
        assert (await one.get("t/1")).data == b"one"
        assert await keys_of(one) == ["t/1"]
        assert await one.list_folders("") == ["t"]
        assert await keys_of(whole, start_after="a/t/1") == ["ab/t/1"]
        for store in (one, other, whole):
            await store.close()

    async def test_without_a_prefix_keys_lie_at_the_root_of_the_bucket(
        self, s3_settings: StorageSettings, s3_server: S3Server
    ) -> None:
        store = S3Store(s3_settings.model_copy(update={"url": f"s3://{BUCKET}"}))
        await store.put("tenants/root/a", b"data")
        with closing(s3_server.client()) as client:
            assert client.head_object(Bucket=BUCKET, Key="tenants/root/a")["ContentLength"] == 4
        assert await keys_of(store, "tenants/root/") == ["tenants/root/a"]
        await store.delete("tenants/root/a")
        await store.close()

    async def test_a_listing_of_several_pages_is_whole_and_in_order(
        self, store: S3Store, far_store: S3Store, proxy: Proxy, s3_server: S3Server
    ) -> None:
        if s3_server.is_real:
            pytest.skip("the request is made smaller on its way, which breaks its signature")

        def two_a_page(request: Request) -> Treatment:
            if "list-type=2" in request.path:
                request.path += "&max-keys=2"
            return None

        keys = [f"t/{name}/x" for name in "abcdefg"]
        for key in keys:
            await store.put(key, b"")
        proxy.treat = two_a_page
        assert await keys_of(far_store, "t/") == keys
        assert await keys_of(far_store, "t/", start_after="t/b/x") == keys[2:]
        assert await far_store.list_folders("t/") == list("abcdefg")
        assert len(proxy.requests) >= 10


class TestLostReplies:
    @pytest.fixture(
        params=[
            [Fault.REPLY_LOST],
            [Fault.REQUEST_LOST],
            [Fault.REPLY_LOST, Fault.REPLY_LOST, Fault.REPLY_LOST],
            [Fault.REQUEST_LOST, Fault.REPLY_LOST],
            [Answer(500, "InternalError", after=True)],
            [Answer(500, "InternalError")],
            [Answer(503, "SlowDown"), Fault.REPLY_LOST],
            [Answer(409, "ConditionalRequestConflict")],
            [Answer(409, "ConditionalRequestConflict"), Fault.REPLY_LOST],
        ],
        ids=str,
    )
    def luck(self, request: pytest.FixtureRequest) -> list[Treatment]:
        return list(request.param)

    async def test_a_change_is_made_once_and_told_as_made(
        self, store: S3Store, far_store: S3Store, proxy: Proxy, luck: list[Treatment]
    ) -> None:
        await Document(store, KEY, NUMBER).create(0)
        applied: list[int] = []

        def edit(number: int) -> int:
            applied.append(number)
            return number + 1

        proxy.next_conditional_puts(*luck)
        assert await Document(far_store, KEY, NUMBER).change(edit) == 1
        assert await Document(store, KEY, NUMBER).load() == 1
        assert applied == [0]

    async def test_a_creation_is_told_as_ones_own(
        self, far_store: S3Store, proxy: Proxy, luck: list[Treatment]
    ) -> None:
        proxy.next_conditional_puts(*luck)
        assert await Document(far_store, KEY, NUMBER).create(7) == (7, True)

    async def test_a_lost_reply_is_never_a_conflict_not_even_without_a_document(
        self, store: S3Store, far_store: S3Store, proxy: Proxy
    ) -> None:
        proxy.next_conditional_puts(Fault.REPLY_LOST)
        with pytest.raises(StoreUnavailable):
            await far_store.put(KEY, b"first", IfAbsent())
        stored = await store.get(KEY)
        assert stored.data == b"first"
        proxy.next_conditional_puts(Fault.REPLY_LOST)
        with pytest.raises(StoreUnavailable):
            await far_store.put(KEY, b"second", IfMatch(stored.etag))
        assert (await store.get(KEY)).data == b"second"
        assert proxy.conditional_puts == 2

    async def test_a_put_without_condition_is_simply_made_again(
        self, store: S3Store, far_store: S3Store, proxy: Proxy
    ) -> None:
        luck: Iterator[Treatment] = iter(
            [Fault.REPLY_LOST, Answer(503, "ServiceUnavailable"), Fault.REQUEST_LOST]
        )
        proxy.treat = lambda _: next(luck, None)
        etag = await far_store.put(KEY, b"data")
        assert (await store.head(KEY)).stamp == etag
        assert len(proxy.requests) == 4

    async def test_a_body_that_breaks_off_is_read_again(
        self, store: S3Store, far_store: S3Store, proxy: Proxy
    ) -> None:
        data = os.urandom(300_000)
        await store.put(KEY, data)
        luck = iter([Fault.REPLY_CUT, None, Fault.REPLY_CUT, None])
        proxy.treat = lambda _: next(luck)
        assert (await far_store.get(KEY)).data == data
        assert await far_store.get_range(KEY, 100, 200_000) == data[100:200_100]

    async def test_a_race_that_the_server_never_settles_ends(self, far_store: S3Store, proxy: Proxy) -> None:
        proxy.treat = lambda _: Answer(409, "ConditionalRequestConflict")
        with pytest.raises(StoreUnavailable, match="same moment"):
            await far_store.put(KEY, b"data", IfAbsent())
        assert proxy.conditional_puts == StorageSettings().max_attempts


class TestLargeFiles:
    audio = os.urandom(1_234) * (2 * MULTIPART_BYTES // 1_234 + 10)

    @pytest.fixture
    def take(self, tmp_path: Path) -> Path:
        path = tmp_path / "take.wav"
        path.write_bytes(self.audio)
        return path

    @staticmethod
    def parts_of(proxy: Proxy) -> int:
        return sum(r.method == "PUT" and "partNumber" in r.path for r in proxy.requests)

    async def test_a_large_file_goes_up_in_parts_and_comes_back_whole(
        self, store: S3Store, far_store: S3Store, proxy: Proxy, take: Path
    ) -> None:
        etag = await far_store.put_file("blobs/take", take)
        assert self.parts_of(proxy) == 3
        stored = await store.get("blobs/take")
        assert stored.data == self.audio
        assert stored.etag == etag == (await store.head("blobs/take")).stamp
        seam = MULTIPART_BYTES - 5
        assert await store.get_range("blobs/take", seam, 10) == stored.data[seam : seam + 10]

    async def test_a_part_that_fails_is_sent_again(
        self, store: S3Store, far_store: S3Store, proxy: Proxy, take: Path
    ) -> None:
        luck: Iterator[Treatment] = iter([Fault.REPLY_LOST, Answer(503, "SlowDown")])
        proxy.treat = lambda r: next(luck, None) if "partNumber=2" in r.path else None
        await far_store.put_file("blobs/take", take)
        assert self.parts_of(proxy) == 5
        assert (await store.get("blobs/take")).data == self.audio

    async def test_parts_that_were_joined_without_a_reply_are_there(
        self, store: S3Store, far_store: S3Store, proxy: Proxy, take: Path
    ) -> None:
        luck: Iterator[Treatment] = iter([Fault.REPLY_LOST])
        proxy.treat = lambda r: next(luck, None) if r.method == "POST" and "uploadId" in r.path else None
        etag = await far_store.put_file("blobs/take", take)
        stored = await store.get("blobs/take")
        assert (stored.data, stored.etag) == (self.audio, etag)

    async def test_an_upload_that_fails_leaves_neither_object_nor_parts(
        self,
        s3_settings: StorageSettings,
        s3_server: S3Server,
        store: S3Store,
        proxy: Proxy,
        take: Path,
    ) -> None:
        impatient = S3Store(
            s3_settings.model_copy(update={"endpoint_url": proxy.endpoint_url, "max_attempts": 1})
        )
        proxy.treat = lambda r: Answer(500, "InternalError") if "partNumber=3" in r.path else None
        with pytest.raises(StoreUnavailable, match="blobs/take"):
            await impatient.put_file("blobs/take", take)
        await impatient.close()
        assert await keys_of(store) == []
        with closing(s3_server.client()) as client:
            assert "Uploads" not in client.list_multipart_uploads(Bucket=BUCKET)


class TestSeveralProcesses:
    async def test_sixteen_writers_in_four_processes_lose_no_update(
        self, store: S3Store, s3_settings: StorageSettings
    ) -> None:
        await Document(store, KEY, NUMBER).create(0)
        processes = [spawn("count", s3_settings, KEY, "4", "6") for _ in range(4)]
        assert [await asyncio.to_thread(process.wait, 120) for process in processes] == [0] * 4
        assert await Document(store, KEY, NUMBER).load() == 16 * 6

    async def test_a_fork_leaves_both_sides_with_connections_of_their_own(
        self, s3_settings: StorageSettings
    ) -> None:
        assert await asyncio.to_thread(spawn("fork", s3_settings).wait, 120) == 0


class TestPresignedUrls:
    async def test_a_client_without_keys_downloads_under_the_right_name(self, store: S3Store) -> None:
        await store.put("exports/1", b"RIFF audio")
        assert isinstance(store, Presigns)
        disposition = "attachment; filename=\"Nacht _bung.wav\"; filename*=UTF-8''Nacht%20%C3%9Cbung.wav"
        url = await store.presigned_url(
            "exports/1", expires_s=60, content_disposition=disposition, media_type="audio/wav"
        )
        answer = await fetch(url)
        assert (answer.status_code, answer.content) == (200, b"RIFF audio")
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.headers["content-disposition"] == disposition

    async def test_a_part_can_be_asked_for(self, store: S3Store) -> None:
        await store.put("exports/1", b"RIFF audio")
        url = await store.presigned_url(
            "exports/1", expires_s=60, content_disposition="inline", media_type="audio/wav"
        )
        answer = await fetch(url, headers={"Range": "bytes=5-9"})
        assert (answer.status_code, answer.content) == (206, b"audio")

    async def test_a_changed_url_opens_nothing_else(self, store: S3Store) -> None:
        for key in ("exports/1", "exports/2"):
            await store.put(key, b"RIFF audio")
        url = await store.presigned_url(
            "exports/1", expires_s=77, content_disposition="inline", media_type="audio/wav"
        )
        assert httpx.URL(url).params["X-Amz-Expires"] == "77"
        assert (await fetch(url.replace("exports/1", "exports/2"))).status_code == 403


async def fetch(url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url, headers=headers)


def spawn(command: str, settings: StorageSettings, *arguments: str) -> subprocess.Popen[bytes]:
    assert settings.endpoint_url is not None
    module = [sys.executable, "-m", "tests.storage.stores.s3_process"]
    return subprocess.Popen(
        [*module, command, settings.url, settings.endpoint_url, *arguments], cwd=REPOSITORY
    )
