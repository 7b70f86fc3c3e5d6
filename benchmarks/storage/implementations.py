"""The two ways to a store that are compared: through this project, and by boto3 alone.

| work | through Segue | by boto3 |
| --- | --- | --- |
| change | a chain renamed, by compare-and-swap | GetObject, JSON, PutObject with If-Match, again after a 412 |
| put | ObjectStore.put | PutObject |
| put file | ObjectStore.put_file | upload_file, in parts as large as Segue's |
| get | ObjectStore.get | GetObject, the whole body |
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from configs.settings import StorageSettings
from storage import paths
from storage.domain import decisions
from storage.repositories.chains import Chains
from storage.stores.object_store import ObjectStore
from storage.stores.s3.connections import MULTIPART_BYTES, THREADS

TENANT = "bench"
REGION = "us-east-1"
CONFLICTS = (409, 412)

Turns = Callable[[], Iterator[int]]
"""Gives each client its turns."""


class Way(Protocol):
    async def run(self, work: str, keys: Sequence[str], file: Path | None, turns: Turns) -> int:
        """One client for each key; how often the work was done by all of them together.

        `file` holds what is put, and is needed for all but changes.
        """
        ...


class ThroughSegue:
    """Clients are coroutines of one loop, as in an ingress, or each has a thread and a loop, as a heart has."""

    def __init__(self, store: ObjectStore, *, own_loops: bool = False) -> None:
        self._store = store
        self._chains = Chains(store)
        self._own_loops = own_loops

    async def run(self, work: str, keys: Sequence[str], file: Path | None, turns: Turns) -> int:
        once = self._works(file)[work]

        async def again_and_again(key: str) -> int:
            done = 0
            for _ in turns():
                await once(key)
                done += 1
            return done

        if self._own_loops:
            return await _in_threads(keys, lambda key: asyncio.run(again_and_again(key)))
        return sum(await asyncio.gather(*map(again_and_again, keys)))

    def _works(self, file: Path | None) -> dict[str, Callable[[str], Coroutine[Any, Any, Any]]]:
        if file is None:
            return {"change": self._rename}
        data = file.read_bytes()
        return {
            "put": lambda key: self._store.put(key, data),
            "put file": lambda key: self._store.put_file(key, file),
            "get": lambda key: self._store.get(key),
        }

    async def _rename(self, chain_id: str) -> None:
        await self._chains.change(
            TENANT, chain_id, lambda chain, now: decisions.rename(chain, f"{chain.version}", now)
        )


class ByBoto3:
    """What one would write without this project; each client is a thread."""

    def __init__(self, settings: StorageSettings) -> None:
        self._bucket = settings.url.removeprefix("s3://")
        self._client = boto3.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=REGION,
            config=Config(
                s3={"addressing_style": "path"},
                max_pool_connections=THREADS,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        self._transfers = TransferConfig(
            multipart_threshold=MULTIPART_BYTES, multipart_chunksize=MULTIPART_BYTES
        )

    async def run(self, work: str, keys: Sequence[str], file: Path | None, turns: Turns) -> int:
        once = self._works(file)[work]

        def again_and_again(key: str) -> int:
            done = 0
            for _ in turns():
                once(key)
                done += 1
            return done

        return await _in_threads(keys, again_and_again)

    def _works(self, file: Path | None) -> dict[str, Callable[[str], Any]]:
        if file is None:
            return {"change": self._rename}
        data = file.read_bytes()
        return {
            "put": lambda key: self._put(key, data),
            "put file": lambda key: self._client.upload_file(
                str(file), self._bucket, key, Config=self._transfers
            ),
            "get": lambda key: self._get(key)["Body"].read(),
        }

    def _rename(self, chain_id: str) -> None:
        key = paths.chain(TENANT, chain_id)
        while True:
            answer = self._get(key)
            document = json.loads(answer["Body"].read())
            record = document["record"]
            record["title"] = f"{record['version']}"
            record["version"] += 1
            data = json.dumps(document, separators=(",", ":")).encode()
            try:
                self._put(key, data, IfMatch=answer["ETag"].strip('"'))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] not in CONFLICTS:
                    raise
            else:
                return

    def _get(self, key: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.get_object(Bucket=self._bucket, Key=key)
        return answer

    def _put(self, key: str, data: bytes, **condition: str) -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=data, **condition)


async def _in_threads(keys: Sequence[str], again_and_again: Callable[[str], int]) -> int:
    """A thread for each key; the sum of what they say."""

    def all_clients() -> int:
        with ThreadPoolExecutor(len(keys)) as threads:
            return sum(threads.map(again_and_again, keys))

    return await asyncio.to_thread(all_clients)
