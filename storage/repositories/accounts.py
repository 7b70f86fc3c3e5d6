"""Tenants' accounts in the object store: one document for each tenant.

A place is reserved after the job's active marker is written, and given back after the marker is removed. So a place
whose job has no marker is a leak (a crash between the two), which the next reservation that finds no room heals.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from storage import paths
from storage.domain.accounts import Account, NoRoom, give_back, reserve
from storage.domain.records import FORMAT_VERSION, BadRecord, require_format
from storage.stores.document import Codec, Document, DocumentCorrupt
from storage.stores.object_store import ObjectNotFound, ObjectStore, StoreError

logger = logging.getLogger("segue.storage")


class Accounts:
    """Changes of one tenant's account from one process take turns: they would only lose races to each other."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def reserve(self, tenant: str, job_ids: Sequence[str], most: int) -> None:
        """A place for each of the jobs, whose markers are there; all of them or none. Holds under any concurrency.

        Raises NoRoom, StoreError.
        """
        async with self._turns[tenant]:
            document = await self._opened(tenant)
            try:
                await document.change(lambda account: reserve(account, job_ids, most))
            except NoRoom:
                # Read before the markers are listed: what had a place then and has no marker now has ended.
                held = frozenset((await document.load()).unfinished)
                ended = held - await self._marked(tenant)
                if not ended:
                    raise
                await document.change(lambda account: reserve(account, job_ids, most, ended=ended))

    async def require_room(self, tenant: str, jobs: int, most: int) -> None:
        """A look before any work is done: it reserves nothing. Raises NoRoom, StoreError."""
        try:
            held = frozenset((await self._document(tenant).load()).unfinished)
        except (ObjectNotFound, DocumentCorrupt):  # made when a place is reserved
            held = await self._marked(tenant)
        if len(held) + jobs > most:
            unfinished = len(held & await self._marked(tenant))
            if unfinished + jobs > most:
                raise NoRoom(unfinished, most)

    async def give_back(self, tenant: str, job_ids: Sequence[str]) -> None:
        """Give back the places of jobs whose markers are gone. What fails here, the next one that lacks room
        heals."""
        try:
            async with self._turns[tenant]:
                await self._document(tenant).change(lambda account: give_back(account, job_ids))
        except ObjectNotFound:
            return
        except StoreError as error:
            logger.warning("places are not given back for now: %s", error)

    async def _opened(self, tenant: str) -> Document[Account]:
        """The tenant's account; a new or a damaged one is made of the jobs that have a marker and a record.
        A marker alone is of a job that is not admitted yet."""
        document = self._document(tenant)
        try:
            await document.load()
        except ObjectNotFound:
            await document.create(Account(tenant, await self._admitted(tenant)))
        except DocumentCorrupt as error:
            logger.error("an account is made anew: %s", error)
            await document.replace_damaged(Account(tenant, await self._admitted(tenant)))
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


def _to_record(account: Account) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "tenant": account.tenant,
        "unfinished": list(account.unfinished),
    }


def _from_record(record: Mapping[str, Any]) -> Account:
    """Raises BadRecord."""
    require_format(record)
    try:
        unfinished = record["unfinished"]
        if not isinstance(unfinished, list) or not all(isinstance(job_id, str) for job_id in unfinished):
            raise TypeError("unfinished is a list of ids")
        account = Account(tenant=record["tenant"], unfinished=tuple(unfinished))
        if not isinstance(account.tenant, str):
            raise TypeError("tenant is text")
        return account
    except (KeyError, TypeError) as error:
        raise BadRecord(f"not an account record: {error!r}") from error


CODEC: Codec[Account] = Codec(encode=_to_record, decode=_from_record)
