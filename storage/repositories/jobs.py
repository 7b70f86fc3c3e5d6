"""Jobs in the object store: their records, and the markers of those that are not finished.

A marker `active/{job}` is written before its record and removed after the record's end, so whoever lists the
markers finds every job that somebody may still have to work on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from storage import paths
from storage.domain.accounts import NOTHING, Amounts, Held, Limits, NoRoom
from storage.domain.jobs import Job, JobKind, JobNotFound, JobState, spent
from storage.domain.model import Failure
from storage.domain.records import job_from_record, job_to_record
from storage.repositories.accounts import Accounts
from storage.repositories.pages import DamagedRecord, read_entries
from storage.repositories.time_index import Timeline
from storage.stores.clock import Clock, utc_now
from storage.stores.document import Codec, Document
from storage.stores.object_store import BadKey, ObjectNotFound, ObjectStore

CODEC: Codec[Job] = Codec(encode=job_to_record, decode=job_from_record)


@dataclass(frozen=True, slots=True)
class JobKey:
    """What finds a job's record. `kind` (None: not known) and `weight` say whose turn it is before the record is
    read; keys of one job are equal whatever they say."""

    tenant: str
    job_id: str
    kind: JobKind | None = field(default=None, compare=False)
    weight: int = field(default=1, compare=False)


def key_of(job: Job) -> JobKey:
    return JobKey(job.tenant, job.id, job.kind, job.weight)


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, newest first; `cursor` continues the list, None at its end. `damaged` are listed and cannot be read."""

    jobs: tuple[Job, ...]
    cursor: str | None
    damaged: tuple[DamagedRecord, ...] = ()


class Jobs:
    def __init__(self, store: ObjectStore, clock: Clock = utc_now) -> None:
        self._store = store
        self._clock = clock
        self._timeline = Timeline(store, "jobs")
        self.accounts = Accounts(store, clock, self._spent)

    async def create(self, job: Job) -> tuple[Job, bool]:
        """Keep a new job, its marker first: (job, True), or (the one of that id, False)."""
        await self._store.put(paths.active(job.tenant, job.id), b"")
        await self._timeline.add(job.tenant, job.id, job.created_at)
        kept, created = await self._document(job.tenant, job.id).create(job)
        if kept.state.is_finished:
            await self.clear_active(kept)
        return kept, created

    async def find(self, tenant: str, job_id: str) -> Job | None:
        try:
            return await self._document(tenant, job_id).load()
        except (ObjectNotFound, BadKey):
            return None

    async def load(self, tenant: str, job_id: str) -> Job:
        """Raises JobNotFound."""
        job = await self.find(tenant, job_id)
        if job is None:
            raise JobNotFound(job_id)
        return job

    async def change(self, tenant: str, job_id: str, edit: Callable[[Job, datetime], Job]) -> Job:
        """Change a record by compare-and-swap, and take its marker away once it is finished.

        Raises JobNotFound, and what `edit` raises.
        """
        try:
            job = await self._document(tenant, job_id).change(lambda job: edit(job, self._clock()))
        except (ObjectNotFound, BadKey) as error:
            raise JobNotFound(job_id) from error
        if job.state.is_finished:
            await self.clear_active(job)
        return job

    async def end_damaged(self, tenant: str, job_id: str) -> Job:
        """Put a failed job in the place of a record that cannot be read; returns it, or what can be read.

        Raises JobNotFound.
        """
        entries = await self._timeline.entries_of(tenant, job_id)
        now = self._clock()
        ended = Job(
            id=job_id,
            kind=JobKind.GENERATE,
            tenant=tenant,
            created_at=paths.time_of_timeline_entry(entries[0]) if entries else now,
            updated_at=now,
            request_sha256="",
            state=JobState.FAILED,
            error=Failure("damaged", "the job's record was damaged, and the job was given up"),
            finished_at=now,
        )
        try:
            job = await self._document(tenant, job_id).replace_damaged(ended)
        except (ObjectNotFound, BadKey) as error:
            raise JobNotFound(job_id) from error
        if job.state.is_finished:
            await self.clear_active(job)
        return job

    async def admit(self, tenant: str, wanted: Mapping[str, Held], limits: Limits) -> None:
        """Markers for new jobs, and what they need held in the tenant's account, for all of them or for none; to be
        called before `create`. Raises NoRoom.
        """
        needed = sum((held.amounts for held in wanted.values()), NOTHING)
        await self.accounts.require_room(tenant, needed, limits)  # most refusals write nothing
        keys = [paths.active(tenant, job_id) for job_id in wanted]
        await asyncio.gather(*(self._store.put(key, b"") for key in keys))
        try:
            await self.accounts.reserve(tenant, wanted, limits)
        except NoRoom:
            await asyncio.gather(*(self._store.delete(key) for key in keys))
            raise

    async def clear_active(self, job: Job) -> None:
        """Remove the marker of a job that has ended, and settle what it held."""
        await self._store.delete(paths.active(job.tenant, job.id))
        await self.accounts.settle(job.tenant, {job.id: spent(job)})

    async def _spent(self, tenant: str, job_id: str) -> Amounts:
        job = await self.find(tenant, job_id)
        return NOTHING if job is None else spent(job)

    async def active(self) -> list[JobKey]:
        """All unfinished jobs of all tenants, by their markers."""
        return [key for tenant in await self.tenants() for key in await self.active_of(tenant)]

    async def tenants(self) -> list[str]:
        """All tenants that have anything in the store, sorted."""
        return await self._store.list_folders(paths.TENANTS)

    async def active_of(self, tenant: str) -> list[JobKey]:
        folder = paths.active_folder(tenant)
        return [JobKey(tenant, found.key.removeprefix(folder)) async for found in self._store.list(folder)]

    async def page(self, tenant: str, *, cursor: str | None = None, limit: int = 50) -> JobPage:
        """Raises BadKey for a cursor that no page gave."""
        entries = await self._timeline.after(tenant, cursor, limit)
        found, damaged = await read_entries(entries, lambda job_id: self.find(tenant, job_id))
        jobs = tuple(
            job for entry, job in found if paths.timeline_entry(job.created_at, job.id) == entry.name
        )
        return JobPage(jobs, entries[-1].name if len(entries) == limit else None, damaged)

    def _document(self, tenant: str, job_id: str) -> Document[Job]:
        return Document(
            self._store,
            paths.job(tenant, job_id),
            CODEC,
            belongs=lambda job: (job.tenant, job.id) == (tenant, job_id),
        )
