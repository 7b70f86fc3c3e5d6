"""Does a server keep the conditions that compare-and-swap stands on?

One that ignores them answers 200, and changes are lost without a trace. So the conditions are tried before
anything relies on them: one after another, then by several writers of one document. A race that lost
nothing proves nothing, but the servers known to fail lose it nearly always.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TypeVar

from storage.stores.document import Codec, Document
from storage.stores.object_store import (
    Condition,
    IfAbsent,
    IfMatch,
    ObjectStore,
    PreconditionFailed,
    StoreError,
)
from storage.stores.s3.failures import NotImplementedByServer

T = TypeVar("T")

PROBES = "probe/"
"""The folder of what probes write and remove."""

CREATORS = 8
WRITERS = 4
CHANGES_EACH = 4

_NUMBER: Codec[int] = Codec(
    encode=lambda number: {"number": number}, decode=lambda record: int(record["number"])
)


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What held, in the order it was tried; None for what was not tried because something before it failed."""

    creates_once: bool
    replaces_what_was_read: bool | None
    refuses_a_stale_replacement: bool | None
    one_of_many_creates: bool | None
    loses_no_change: bool | None

    @property
    def broken(self) -> tuple[str, ...]:
        """What did not hold, in plain words; empty for a safe server."""
        names = [field.name for field in fields(self) if getattr(self, field.name) is False]
        return tuple(name.replace("_", " ") for name in names)


async def probe(store: ObjectStore) -> ProbeReport:
    """Try the conditions, by some 60 small requests, on objects that are removed again.

    Raises StoreError where the store cannot be used at all.
    """
    folder = f"{PROBES}{secrets.token_hex(12)}/"
    alone, created, counted = f"{folder}alone", f"{folder}created", f"{folder}counted"
    try:
        once, replaced, refused = await _in_sequence(store, alone)
        in_order = once and replaced and refused
        return ProbeReport(
            creates_once=once,
            replaces_what_was_read=replaced,
            refuses_a_stale_replacement=refused,
            one_of_many_creates=await _one_creates(store, created) if in_order else None,
            loses_no_change=await _nothing_is_lost(store, counted) if in_order else None,
        )
    finally:
        for key in (alone, created, counted):
            with suppress(StoreError):
                await store.delete(key)


async def _in_sequence(store: ObjectStore, key: str) -> tuple[bool, bool | None, bool | None]:
    if not await _lands(store, key, b"first", IfAbsent()):
        return False, None, None
    once = not await _lands(store, key, b"again", IfAbsent())
    read = await store.get(key)
    replaced = await _lands(store, key, b"second", IfMatch(read.etag))
    refused = not await _lands(store, key, b"stale", IfMatch(read.etag))
    return once, replaced, refused and (await store.get(key)).data != b"stale"


async def _one_creates(store: ObjectStore, key: str) -> bool:
    made = await _all(Document(store, key, _NUMBER).create(number) for number in range(CREATORS))
    return sum(is_new for _, is_new in made) == 1


async def _nothing_is_lost(store: ObjectStore, key: str) -> bool:
    await Document(store, key, _NUMBER).create(0)
    await _all(_count(store, key) for _ in range(WRITERS))
    return await Document(store, key, _NUMBER).load() == WRITERS * CHANGES_EACH


async def _count(store: ObjectStore, key: str) -> None:
    for _ in range(CHANGES_EACH):
        await Document(store, key, _NUMBER).change(lambda number: number + 1)


async def _lands(store: ObjectStore, key: str, data: bytes, condition: Condition) -> bool:
    try:
        await store.put(key, data, condition)
    except (PreconditionFailed, NotImplementedByServer):
        return False
    return True


async def _all(works: Iterable[Awaitable[T]]) -> list[T]:
    """All results, once all have ended: none goes on writing after another has failed."""
    ended = await asyncio.gather(*works, return_exceptions=True)
    for result in ended:
        if isinstance(result, BaseException):
            raise result
    return [result for result in ended if not isinstance(result, BaseException)]
