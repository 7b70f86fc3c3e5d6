"""Tenants' accounts in the object store: one document for each tenant, and one for each day that is over.

A job's place is reserved after its active marker is written, and settled after the marker is removed. So a place
whose job has no marker is a leak (a crash between the two), which the next reservation that finds no room heals.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

from storage import paths
from storage.domain.accounts import (
    NOTHING,
    Account,
    Amounts,
    Day,
    Held,
    Limit,
    Limits,
    NoRoom,
    jobs_of,
    measured,
    require_room,
    reserve,
    settle,
    without_days,
    without_expired,
)
from storage.domain.records import FORMAT_VERSION, BadRecord, format_time, parse_time, require_format
from storage.stores.clock import Clock, utc_now
from storage.stores.document import Codec, Document, DocumentCorrupt
from storage.stores.object_store import BadKey, ObjectNotFound, ObjectStore, StoreError

logger = logging.getLogger("segue.storage")

RECENT_DAYS = 2
"""How many days an account keeps itself; older ones have documents of their own."""

Spent = Callable[[str, str], Awaitable[Amounts]]
"""What an ended job took, by its tenant and its id."""


async def _nothing(tenant: str, job_id: str) -> Amounts:
    return NOTHING


class Accounts:
    """Changes of one tenant's account from one process take turns: they would only lose races to each other.

    `spent` returns what a job whose marker is gone took.
    """

    def __init__(self, store: ObjectStore, clock: Clock = utc_now, spent: Spent = _nothing) -> None:
        self._store = store
        self._clock = clock
        self._spent = spent
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def read(self, tenant: str) -> Account:
        """The account as it is; one of a tenant that has none yet is empty. Raises StoreError."""
        try:
            return without_expired(await self._document(tenant).load(), self._clock())
        except (ObjectNotFound, BadKey):
            return Account(tenant)

    async def reserve(self, tenant: str, wanted: Mapping[str, Held], limits: Limits) -> None:
        """Hold all that is wanted, or nothing. The markers of jobs have to be there. Holds under any concurrency.

        Raises NoRoom, StoreError.
        """
        async with self._turns[tenant]:
            document = await self._opened(tenant)
            try:
                account = await document.change(
                    lambda account: reserve(account, wanted, limits, self._clock())
                )
            except NoRoom as error:
                # Read before the markers are listed: what had a place then and has no marker now has ended.
                seen = await document.load()
                ended = await self._ended(seen)
                if not ended and not await self._measured(document, seen, error):
                    raise
                account = await document.change(
                    lambda account: reserve(account, wanted, limits, self._clock(), ended=ended)
                )
            await self._archive(document, account)

    async def require_room(self, tenant: str, wanted: Amounts, limits: Limits) -> None:
        """A look before any work is done: it reserves nothing. Raises NoRoom, StoreError."""
        try:
            account = without_expired(await self._document(tenant).load(), self._clock())
        except (ObjectNotFound, DocumentCorrupt):  # made when a place is reserved
            account = Account(tenant, jobs_of(await self._marked(tenant)))
        try:
            require_room(account, wanted, limits, self._clock())
        except NoRoom as error:
            if error.limit is Limit.STORED_BYTES:
                return  # whoever reserves it counts what is stored first
            account = settle(account, await self._ended(account), self._clock())
            require_room(account, wanted, limits, self._clock())

    async def settle(self, tenant: str, ended: Mapping[str, Amounts]) -> None:
        """Put what ended work took in the place of what it held. What fails here, the next one that lacks room
        heals."""
        try:
            async with self._turns[tenant]:
                document = self._document(tenant)
                await document.change(lambda account: settle(account, ended, self._clock()))
        except ObjectNotFound:
            return
        except StoreError as error:
            logger.warning("places are not given back for now: %s", error)

    async def measure(self, tenant: str) -> None:
        """Count what the tenant has stored. Raises StoreError."""
        document = self._document(tenant)
        try:
            seen = await document.load()
        except ObjectNotFound:
            return
        await self._count(document, seen)

    async def days(self, tenant: str, first: date, last: date) -> dict[str, Day]:
        """What was used on each of these days, by its date; days without any use are missing. Raises StoreError."""
        recent = (await self.read(tenant)).days
        wanted = [(first + timedelta(days=offset)).isoformat() for offset in range((last - first).days + 1)]
        there = await self._archived(tenant)
        kept = await asyncio.gather(
            *(self._usage(tenant, day).load() for day in wanted if day in there and day not in recent)
        )
        found = {**dict(kept), **recent}
        return {day: found[day] for day in wanted if day in found}

    async def tenants(self) -> list[str]:
        return await self._store.list_folders(paths.TENANTS)

    async def _measured(self, document: Document[Account], seen: Account, error: NoRoom) -> bool:
        """Whether what is stored was counted anew, because there seemed to be no room for more."""
        if error.limit is not Limit.STORED_BYTES:
            return False
        return (await self._count(document, seen)).stored_bytes < seen.stored_bytes

    async def _count(self, document: Document[Account], seen: Account) -> Account:
        folder = paths.folder(seen.tenant, "blobs")
        stored_bytes = sum([found.size_bytes async for found in self._store.list(folder)])
        return await document.change(lambda account: measured(account, stored_bytes, seen, self._clock()))

    async def _archive(self, document: Document[Account], account: Account) -> None:
        """Move the days that are over into documents of their own. A crash in between leaves them in both."""
        kept = {(self._clock() - timedelta(days=back)).astimezone(UTC).date() for back in range(RECENT_DAYS)}
        old = {day: used for day, used in account.days.items() if date.fromisoformat(day) not in kept}
        if old:
            await asyncio.gather(*(self._usage(account.tenant, day).create((day, old[day])) for day in old))
            await document.change(lambda account: without_days(account, old.keys()))

    async def _archived(self, tenant: str) -> frozenset[str]:
        folder = paths.folder(tenant, "usage")
        names = [found.key.removeprefix(folder) async for found in self._store.list(folder)]
        return frozenset(name.removesuffix(".json") for name in names)

    async def _ended(self, account: Account) -> dict[str, Amounts]:
        """The jobs that hold something and have ended, with what they took."""
        jobs = {work for work, held in account.held.items() if held.until is None}
        ended = sorted(jobs - await self._marked(account.tenant)) if jobs else []
        took = await asyncio.gather(*(self._spent(account.tenant, job_id) for job_id in ended))
        return dict(zip(ended, took, strict=True))

    async def _opened(self, tenant: str) -> Document[Account]:
        """The tenant's account; a new or a damaged one is made of the jobs that have a marker and a record.
        A marker alone is of a job that is not admitted yet."""
        document = self._document(tenant)
        try:
            await document.load()
        except ObjectNotFound:
            await document.create(Account(tenant, jobs_of(await self._admitted(tenant))))
        except DocumentCorrupt as error:
            logger.error("an account is made anew: %s", error)
            await document.replace_damaged(Account(tenant, jobs_of(await self._admitted(tenant))))
        return document

    async def _admitted(self, tenant: str) -> tuple[str, ...]:
        return tuple(
            sorted(
                [job_id for job_id in await self._marked(tenant) if await self._has_record(tenant, job_id)]
            )
        )

    async def _has_record(self, tenant: str, job_id: str) -> bool:
        try:
            await self._store.head(paths.job(tenant, job_id))
        except ObjectNotFound:
            return False
        return True

    async def _marked(self, tenant: str) -> frozenset[str]:
        folder = paths.active_folder(tenant)
        return frozenset([found.key.removeprefix(folder) async for found in self._store.list(folder)])

    def _document(self, tenant: str) -> Document[Account]:
        return Document(
            self._store, paths.account(tenant), CODEC, belongs=lambda account: account.tenant == tenant
        )

    def _usage(self, tenant: str, day: str) -> Document[tuple[str, Day]]:
        return Document(
            self._store, paths.usage(tenant, day), USAGE_CODEC, belongs=lambda found: found[0] == day
        )


def _to_record(account: Account) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "tenant": account.tenant,
        "unfinished": list(account.held),
        "held": {work: _held_to_record(held) for work, held in account.held.items()},
        "days": {day: _day_to_record(used) for day, used in account.days.items()},
        "stored_bytes": account.stored_bytes,
        "settled": account.settled,
        "measured_at": None if account.measured_at is None else format_time(account.measured_at),
    }


def _from_record(record: Mapping[str, Any]) -> Account:
    """Raises BadRecord. Up to version 3 an account had only the ids of unfinished jobs."""
    require_format(record)
    try:
        if record["format_version"] < 4:
            record = {**record, "held": {}, "days": {}, "stored_bytes": 0, "settled": 0, "measured_at": None}
        held = record["held"]
        unfinished = record["unfinished"]
        if not isinstance(unfinished, list) or not all(isinstance(job_id, str) for job_id in unfinished):
            raise TypeError("unfinished is a list of ids")
        measured_at = record["measured_at"]
        account = Account(
            tenant=record["tenant"],
            held={work: _held_from_record(held[work]) if work in held else Held("") for work in unfinished},
            days={day: _day_from_record(used) for day, used in record["days"].items()},
            stored_bytes=int(record["stored_bytes"]),
            settled=int(record["settled"]),
            measured_at=None if measured_at is None else parse_time(measured_at),
        )
        if not isinstance(account.tenant, str):
            raise TypeError("tenant is text")
        return account
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"not an account record: {error!r}") from error


def _held_to_record(held: Held) -> dict[str, Any]:
    until = None if held.until is None else format_time(held.until)
    return {"kind": held.kind, "amounts": _amounts_to_record(held.amounts), "until": until}


def _held_from_record(record: Mapping[str, Any]) -> Held:
    until = record["until"]
    return Held(
        str(record["kind"]),
        _amounts_from_record(record["amounts"]),
        None if until is None else parse_time(until),
    )


def _amounts_to_record(amounts: Amounts) -> dict[str, Any]:
    return {name: round(value, 3) for name, value in asdict(amounts).items() if value}


def _amounts_from_record(record: Mapping[str, Any]) -> Amounts:
    known = {each.name for each in fields(Amounts)}
    return Amounts(**{name: value for name, value in record.items() if name in known})


def _day_to_record(used: Day) -> dict[str, Any]:
    return {kind: _amounts_to_record(amounts) for kind, amounts in used.items()}


def _day_from_record(record: Mapping[str, Any]) -> Day:
    return {kind: _amounts_from_record(amounts) for kind, amounts in record.items()}


def _usage_to_record(usage: tuple[str, Day]) -> dict[str, Any]:
    return {"format_version": FORMAT_VERSION, "day": usage[0], "kinds": _day_to_record(usage[1])}


def _usage_from_record(record: Mapping[str, Any]) -> tuple[str, Day]:
    """Raises BadRecord."""
    require_format(record)
    try:
        return str(record["day"]), _day_from_record(record["kinds"])
    except (KeyError, TypeError, AttributeError) as error:
        raise BadRecord(f"not a record of a day's usage: {error!r}") from error


def total(days: Iterable[Day]) -> Amounts:
    """Of all kinds of all these days."""
    return sum((amounts for day in days for amounts in day.values()), NOTHING)


def today(now: datetime) -> str:
    """The date as accounts keep it."""
    return now.astimezone(UTC).date().isoformat()


CODEC: Codec[Account] = Codec(encode=_to_record, decode=_from_record)
USAGE_CODEC: Codec[tuple[str, Day]] = Codec(encode=_usage_to_record, decode=_usage_from_record)
