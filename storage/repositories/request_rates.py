"""How many requests a tenant may make now, whatever replica they come to: a token bucket in the store.

A replica takes several tokens at a time, so that not every request costs a write, and they lapse after a moment. So
the tenant's replicas together never grant more than the bucket has.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from storage import paths
from storage.domain.records import FORMAT_VERSION, BadRecord, format_time, parse_time, require_format
from storage.domain.token_bucket import Bucket, fill, take, wait_s
from storage.stores.clock import Clock, utc_now
from storage.stores.document import Codec, Document
from storage.stores.object_store import ObjectNotFound, ObjectStore

LAPSE_S = 5.0
"""How long a replica may use the tokens that it took."""
TAKEN_PER_MINUTE = 12
"""About how often a replica takes some for a tenant that uses up its limit."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a request may be made, how many more may be now, and when there is one again."""

    is_granted: bool
    limit: int
    remaining: int
    retry_after_s: float


@dataclass
class _Taken:
    tokens: int = 0
    until_s: float = 0.0
    left_in_bucket: int = 0


class RequestRates:
    def __init__(
        self,
        store: ObjectStore,
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._taken: defaultdict[str, _Taken] = defaultdict(_Taken)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def take(self, tenant: str, per_minute: int) -> Allowance:
        """One request of the tenant. Raises StoreError."""
        async with self._turns[tenant]:
            taken = self._taken[tenant]
            if taken.tokens <= 0 or self._monotonic() >= taken.until_s:
                pause_s = await self._take_some(tenant, per_minute, taken)
                if taken.tokens <= 0:
                    return Allowance(False, per_minute, 0, pause_s)
            taken.tokens -= 1
            remaining = taken.tokens + taken.left_in_bucket
            return Allowance(True, per_minute, remaining, 60 / per_minute)

    async def _take_some(self, tenant: str, per_minute: int, taken: _Taken) -> float:
        """How long until there is a token again, where there was none."""
        granted, left = 0, Bucket(0.0, self._clock())

        def edit(bucket: Bucket) -> Bucket:
            nonlocal granted, left
            left, granted = take(
                fill(bucket, per_minute, self._clock()), max(1, per_minute // TAKEN_PER_MINUTE)
            )
            return left if granted else bucket

        document = Document(self._store, paths.requests(tenant), CODEC)
        try:
            await document.change(edit)
        except ObjectNotFound:
            await document.create(fill(None, per_minute, self._clock()))
            await document.change(edit)
        taken.tokens, taken.until_s = granted, self._monotonic() + LAPSE_S
        taken.left_in_bucket = int(left.tokens)
        return wait_s(left, per_minute)


def _to_record(bucket: Bucket) -> dict[str, Any]:
    return {"format_version": FORMAT_VERSION, "tokens": bucket.tokens, "at": format_time(bucket.at)}


def _from_record(record: Mapping[str, Any]) -> Bucket:
    """Raises BadRecord."""
    require_format(record)
    try:
        return Bucket(float(record["tokens"]), parse_time(record["at"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"not a record of requests: {error!r}") from error


CODEC: Codec[Bucket] = Codec(encode=_to_record, decode=_from_record)
