"""An object store in S3, by boto3.

- Of conditions only those of PutObject are relied on (`If-None-Match: *`, `If-Match`), and only after
  `storage.stores.s3.probe` has seen the server keep them.
- A call is repeated, with growing random pauses, while it is known not to have happened, or if twice is as
  good as once. A conditional put without an answer is neither: it becomes StoreUnavailable, never
  PreconditionFailed, and `Document` finds out by its write id.
- An ETag is whatever the server makes it, without its quotes, which some servers do not understand in
  `If-Match`. Times are cut to seconds: a listing and a head then agree on every server.
"""

from __future__ import annotations

import asyncio
import builtins
import random
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from configs.settings import StorageSettings
from storage.stores.keys import check_folder, check_key, check_prefix, check_range
from storage.stores.object_store import Condition, IfAbsent, IfMatch, ObjectInfo, StoredObject
from storage.stores.s3.address import S3Address
from storage.stores.s3.connections import MULTIPART_BYTES, Connections, PerProcess
from storage.stores.s3.failures import FAILURES, Fate, StoreMisconfigured, explain, status_of

T = TypeVar("T")

OnRetry = Callable[[str], None]

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0


class S3Store:
    """Implements `ObjectStore` and `Presigns` in the bucket, and below the prefix, of `settings.url`.

    Opening it asks nobody anything. However the server behaves, a call ends within `max_attempts` times the
    two time-outs and the pauses between; where there is much to read or to send, the time-out is of each
    wait for more of it.
    Besides the errors of `ObjectStore`: BucketMissing, AccessRefused, TlsFailed and other StoreMisconfigured.
    Raises ValueError for a URL that is none.
    """

    def __init__(self, settings: StorageSettings, on_retry: OnRetry = lambda action: None) -> None:
        """`on_retry` is called before a call is made again, with what it does (`read`, `write`, `delete`, ...)."""
        self._on_retry = on_retry
        self._address = S3Address.parse(settings.url)
        self._server = settings.endpoint_url or "AWS S3"
        self._max_attempts = settings.max_attempts
        self._connections = PerProcess(partial(Connections, settings))

    def __str__(self) -> str:
        return f"{self._address} at {self._server}"

    async def get(self, key: str) -> StoredObject:
        def work(here: Connections) -> StoredObject:
            answer = here.client.get_object(**self._at(key))
            with closing(answer["Body"]) as body:
                return StoredObject(body.read(), _etag(answer))

        check_key(key)
        return await self._call("read", key, work)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        def work(here: Connections) -> bytes:
            try:
                answer = here.client.get_object(**self._at(key), Range=f"bytes={start}-{start + length - 1}")
            except ClientError as error:
                if status_of(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return b""
                raise
            _etag(answer)
            with closing(answer["Body"]) as body:
                data = bytes(body.read())
            # A server may pay no heed to a range, and then says nothing of one.
            return data if "ContentRange" in answer else data[start : start + length]

        check_key(key)
        check_range(start, length)
        if length == 0:  # no header says so; the object has to be there all the same
            await self.head(key)
            return b""
        return await self._call("read", key, work)

    async def head(self, key: str) -> ObjectInfo:
        def work(here: Connections) -> ObjectInfo:
            try:
                answer = here.client.head_object(**self._at(key))
            except ClientError as error:
                if status_of(error) == HTTPStatus.NOT_FOUND:  # of the object, or of the bucket?
                    here.client.head_bucket(Bucket=self._address.bucket)
                raise
            return ObjectInfo(key, answer["ContentLength"], _etag(answer), _time(answer))

        check_key(key)
        return await self._call("read", key, work)

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        def work(here: Connections) -> str:
            return _etag(here.client.put_object(**self._at(key), Body=data, **_headers(condition)))

        check_key(key)
        return await self._call("write", key, work, is_repeatable=condition is None)

    async def put_file(self, key: str, path: Path) -> str:
        """A large file goes up in parts. A crash may leave parts behind, which only the server can list:
        give the bucket a rule that removes them (AbortIncompleteMultipartUpload)."""

        def whole(here: Connections) -> str:
            with path.open("rb") as file:
                return _etag(here.client.put_object(**self._at(key), Body=file))

        def in_parts(here: Connections) -> None:
            at = self._at(key)
            here.transfers.upload(str(path), at["Bucket"], at["Key"]).result()

        check_key(key)
        if (await asyncio.to_thread(path.stat)).st_size < MULTIPART_BYTES:
            return await self._call("write", key, whole)
        # Each part is repeated by itself; all of them only where it is in doubt whether they were joined.
        await self._call("write", key, in_parts, max_attempts=2)
        return (await self.head(key)).stamp

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._call("delete", key, lambda here: here.client.delete_object(**self._at(key)))

    async def list(self, prefix: str, *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        check_prefix(prefix)
        after = f"{self._address.folder}{start_after}" if start_after else ""
        async for page in self._pages(prefix, StartAfter=after):
            for entry in page.get("Contents", ()):
                yield ObjectInfo(self._own(entry["Key"]), entry["Size"], _etag(entry), _time(entry))

    async def list_folders(self, prefix: str) -> builtins.list[str]:
        check_folder(prefix)
        folders = [
            self._own(entry["Prefix"])[len(prefix) : -1]
            async for page in self._pages(prefix, Delimiter="/")
            for entry in page.get("CommonPrefixes", ())
        ]
        return sorted(folders)

    async def presigned_url(
        self, key: str, *, expires_s: int, content_disposition: str, media_type: str
    ) -> str:
        """See `Presigns`. The URL leads to the server by the name that this process knows it by."""

        def work(here: Connections) -> str:
            says = {
                "ResponseContentDisposition": content_disposition,
                "ResponseContentType": media_type,
            }
            url = here.client.generate_presigned_url(
                "get_object", Params=self._at(key) | says, ExpiresIn=expires_s
            )
            return str(url)

        check_key(key)
        return await self._call("sign a URL for", key, work)

    async def close(self) -> None:
        await asyncio.to_thread(self._connections.close)

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._address.bucket, "Key": f"{self._address.folder}{key}"}

    def _own(self, key_in_bucket: str) -> str:
        return key_in_bucket[len(self._address.folder) :]

    async def _pages(self, prefix: str, **options: str) -> AsyncIterator[dict[str, Any]]:
        asked = {"Bucket": self._address.bucket, "Prefix": f"{self._address.folder}{prefix}", **options}
        while True:
            page = await self._call("list", prefix, partial(_list, asked=asked))
            yield page
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    async def _call(
        self,
        action: str,
        key: str,
        work: Callable[[Connections], T],
        *,
        is_repeatable: bool = True,
        max_attempts: int | None = None,
    ) -> T:
        """Do `work` in a thread, and again after failures that allow it.

        `is_repeatable` says that twice is as good as once.
        """
        here = self._connections.here()
        max_attempts = max_attempts or self._max_attempts
        attempt = 1
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(here.executor, work, here)
            except FAILURES as error:
                failure = explain(
                    error, action=action, key=key, bucket=self._address.bucket, server=self._server
                )
                may_repeat = failure.fate is Fate.NOT_DONE or (failure.fate is Fate.UNKNOWN and is_repeatable)
                if not may_repeat or attempt == max_attempts:
                    raise failure.error from error
            self._on_retry(action)
            await asyncio.sleep(random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt)))
            attempt += 1


def _list(here: Connections, asked: dict[str, str]) -> dict[str, Any]:
    page: dict[str, Any] = here.client.list_objects_v2(**asked)
    return page


def _headers(condition: Condition) -> dict[str, str]:
    match condition:
        case IfAbsent():
            return {"IfNoneMatch": "*"}
        case IfMatch(etag):
            return {"IfMatch": etag}
        case None:
            return {}


def _etag(answer: dict[str, Any]) -> str:
    if "ETag" not in answer:
        raise StoreMisconfigured(
            "the server answers without an ETag, so it is not S3: check storage.endpoint_url"
        )
    return str(answer["ETag"]).strip('"')


def _time(answer: dict[str, Any]) -> datetime:
    modified_at: datetime = answer["LastModified"]
    return modified_at.astimezone(UTC).replace(microsecond=0)
