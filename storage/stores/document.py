"""One JSON document in the object store, changed only by compare-and-swap.

A change is a pure function of the value. It is applied to the value as read and written only if the object
is still the one read; otherwise it is applied again to the newer value. A conditional put that fails can be
one's own success (the reply to a first try was lost), so every write carries a random id, the document keeps
the last few, and a failed put looks for its own id before it believes in a conflict.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from storage.domain.records import BadRecord, NewerRecord
from storage.stores.object_store import (
    Condition,
    IfAbsent,
    IfMatch,
    ObjectNotFound,
    ObjectStore,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
)

T = TypeVar("T")

KEPT_WRITE_IDS = 16
MAX_CONFLICTS = 200
MAX_TRIES = 4
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.25


class DocumentCorrupt(StoreError):
    """A document that cannot be read: damaged, or (`is_newer`) written by newer code. `etag` is the object's."""

    def __init__(self, message: str, *, etag: str = "", is_newer: bool = False) -> None:
        super().__init__(message)
        self.etag = etag
        self.is_newer = is_newer

    @property
    def reason(self) -> str:
        """In plain words, without a key."""
        if self.is_newer:
            return "it was written by a newer version of Segue, which this server cannot read"
        return "its record is damaged and cannot be read"


class Contended(StoreUnavailable):
    """Other writers won every race for this document."""


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How a value becomes a JSON-able record, and back."""

    encode: Callable[[T], Mapping[str, Any]]
    decode: Callable[[Mapping[str, Any]], T]


@dataclass(frozen=True, slots=True)
class _Stored(Generic[T]):
    value: T
    write_ids: tuple[str, ...]
    etag: str


class Document(Generic[T]):
    """`belongs` says whether a value is the one that the key names; another one is as good as damaged."""

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        codec: Codec[T],
        belongs: Callable[[T], bool] = lambda value: True,
    ) -> None:
        self._store = store
        self._key = key
        self._codec = codec
        self._belongs = belongs

    async def load(self) -> T:
        """Raises ObjectNotFound, DocumentCorrupt."""
        return (await self._read()).value

    async def create(self, value: T) -> tuple[T, bool]:
        """Write the document if there is none: (value, True), or (the value that is there, False)."""
        write_id = secrets.token_hex(8)
        if await self._landed(value, (write_id,), IfAbsent()):
            return value, True
        return await self.load(), False

    async def replace_damaged(self, value: T) -> T:
        """Put `value` in the place of a document that cannot be read; returns it, or what is readable there.

        Raises ObjectNotFound, Contended.
        """
        for conflict in range(MAX_CONFLICTS):
            try:
                return await self.load()
            except DocumentCorrupt as damaged:
                if await self._landed(value, (secrets.token_hex(8),), IfMatch(damaged.etag)):
                    return value
            await _pause(conflict)
        raise Contended(f"{self._key}: lost {MAX_CONFLICTS} races in a row")

    async def change(self, edit: Callable[[T], T]) -> T:
        """Apply `edit` until it lands on the value it was applied to; returns the value it made.

        An edit that returns its argument itself writes nothing. What it raises goes to the caller, nothing
        written. Raises ObjectNotFound, Contended.
        """
        for conflict in range(MAX_CONFLICTS):
            stored = await self._read()
            value = edit(stored.value)
            if value is stored.value:
                return value
            write_ids = (secrets.token_hex(8), *stored.write_ids)[:KEPT_WRITE_IDS]
            if await self._landed(value, write_ids, IfMatch(stored.etag)):
                return value
            await _pause(conflict)
        raise Contended(f"{self._key}: lost {MAX_CONFLICTS} races in a row")

    async def _landed(self, value: T, write_ids: tuple[str, ...], condition: Condition) -> bool:
        """Put the value; False if another write came first. `write_ids[0]` is this write's own."""
        data = self._serialise(value, write_ids)
        for attempt in range(MAX_TRIES):
            try:
                await self._store.put(self._key, data, condition)
            except PreconditionFailed:
                return await self._has_write(write_ids[0])
            except StoreUnavailable:
                # It may or may not have landed; the same conditional put again tells which.
                if attempt == MAX_TRIES - 1:
                    raise
                await _pause(attempt)
            else:
                return True
        raise AssertionError("unreachable")

    async def _has_write(self, write_id: str) -> bool:
        try:
            return write_id in (await self._read()).write_ids
        except (ObjectNotFound, DocumentCorrupt):
            return False

    async def _read(self) -> _Stored[T]:
        stored = await self._store.get(self._key)
        try:
            envelope = json.loads(stored.data, parse_constant=_refuse_constant)
            record, write_ids = envelope["record"], tuple(envelope["write_ids"])
            if not isinstance(record, Mapping) or not all(isinstance(each, str) for each in write_ids):
                raise TypeError("a record is an object, and a write id is text")
            value = self._codec.decode(record)
        except (ValueError, KeyError, TypeError, RecursionError, BadRecord) as error:
            raise DocumentCorrupt(
                f"{self._key} is not a document: {error!r}",
                etag=stored.etag,
                is_newer=isinstance(error, NewerRecord),
            ) from error
        if not self._belongs(value):
            raise DocumentCorrupt(f"{self._key} holds another record", etag=stored.etag)
        return _Stored(value, write_ids, stored.etag)

    def _serialise(self, value: T, write_ids: tuple[str, ...]) -> bytes:
        envelope = {"write_ids": write_ids, "record": self._codec.encode(value)}
        text = json.dumps(envelope, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


async def _pause(attempt: int) -> None:
    longest_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt)
    await asyncio.sleep(random.uniform(0, longest_s))
