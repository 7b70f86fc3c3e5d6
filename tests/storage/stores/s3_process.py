"""A process of its own on an S3 store, for tests that need several.

    python -m tests.storage.stores.s3_process count URL ENDPOINT KEY WRITERS TIMES
    python -m tests.storage.stores.s3_process fork URL ENDPOINT

`count` adds one to the document under KEY, by as many threads with loops of their own as there are WRITERS,
each so many TIMES. `fork` uses a store, forks, uses the same store on both sides at once, and fails unless
each side read what it wrote.
"""

from __future__ import annotations

import asyncio
import os
import sys
from threading import Thread

from configs.settings import StorageSettings
from storage.stores.document import Codec, Document
from storage.stores.object_store import ObjectStore
from storage.stores.opening import open_store

NUMBER: Codec[int] = Codec(
    encode=lambda number: {"number": number}, decode=lambda record: int(record["number"])
)


def count(url: str, endpoint_url: str, key: str, writers: int, times: int) -> int:
    store = open_store(StorageSettings(url=url, endpoint_url=endpoint_url))
    counted = 0

    async def write() -> None:
        nonlocal counted
        for _ in range(times):
            await Document(store, key, NUMBER).change(lambda number: number + 1)
            counted += 1

    threads = [Thread(target=lambda: asyncio.run(write())) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(store.close())
    return 0 if counted == writers * times else 1


def fork(url: str, endpoint_url: str) -> int:
    store = open_store(StorageSettings(url=url, endpoint_url=endpoint_url))
    asyncio.run(_use(store, "before"))  # connections are open now
    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio.run(_use(store, "child"))
            asyncio.run(store.close())
            status = 0
        finally:
            os._exit(status)
    asyncio.run(_use(store, "parent"))
    asyncio.run(store.close())
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


async def _use(store: ObjectStore, name: str) -> None:
    async def write_and_read(number: int) -> None:
        data = f"{name} {number} ".encode() * 1000
        await store.put(f"{name}/{number}", data)
        if (await store.get(f"{name}/{number}")).data != data:
            raise AssertionError(f"{name}/{number} is not what was written")

    await asyncio.gather(*(write_and_read(number) for number in range(20)))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["count", url, endpoint_url, key, writers, times]:
            sys.exit(count(url, endpoint_url, key, int(writers), int(times)))
        case ["fork", url, endpoint_url]:
            sys.exit(fork(url, endpoint_url))
        case _:
            sys.exit(__doc__)
