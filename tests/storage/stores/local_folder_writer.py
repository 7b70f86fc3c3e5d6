"""A process that writes to a local folder store, for tests that run several or kill them.

    python -m tests.storage.stores.local_folder_writer count ROOT KEY TIMES
    python -m tests.storage.stores.local_folder_writer append ROOT NAME

`count` adds one to the number under KEY, by compare-and-swap. `append` writes new versions of one object and
of ever new ones until it is killed, and prints each version's number once the store has acknowledged both.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from itertools import count
from pathlib import Path

from storage.stores.local_folder import LocalFolderStore
from storage.stores.object_store import IfAbsent, IfMatch, ObjectStore, PreconditionFailed

PAYLOAD_BYTES = 200_000


def payload(version: int) -> bytes:
    """A version's content, from which can be told whether it is whole."""
    body = f"{version:08d}".encode() * (PAYLOAD_BYTES // 8)
    return hashlib.sha256(body).digest() + body


def version_of(data: bytes) -> int:
    """The version a whole payload is of. Raises ValueError for a torn one."""
    body = data[32:]
    if len(body) != PAYLOAD_BYTES or hashlib.sha256(body).digest() != data[:32]:
        raise ValueError(f"torn: {len(data)} bytes")
    return int(body[:8])


async def add_one(store: ObjectStore, key: str) -> None:
    while True:
        seen = await store.get(key)
        try:
            await store.put(key, b"%d" % (int(seen.data) + 1), IfMatch(seen.etag))
        except PreconditionFailed:
            continue
        return


async def count_up(root: Path, key: str, times: int) -> None:
    store = LocalFolderStore(root, fsync=False)
    for _ in range(times):
        await add_one(store, key)
    await store.close()


async def append_for_ever(root: Path, name: str) -> None:
    store = LocalFolderStore(root)
    for version in count():
        data = payload(version)
        await store.put(f"{name}/latest", data)
        await store.put(f"{name}/versions/{version:08d}", data, IfAbsent())
        print(version, flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["count", root, key, times]:
            asyncio.run(count_up(Path(root), key, int(times)))
        case ["append", root, name]:
            asyncio.run(append_for_ever(Path(root), name))
        case _:
            sys.exit(__doc__)
