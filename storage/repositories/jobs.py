"""Jobs in the object store: their records, and the markers of those that are not finished.

A marker `active/{job}` is written before its record and removed after the record's end, so whoever lists the
markers finds every job that somebody may still have to work on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from storage import paths
from storage.domain.jobs import Job, JobNotFound
from storage.domain.records import job_from_record, job_to_record
from storage.repositories.time_index import Timeline
from storage.stores.clock import Clock, utc_now
from storage.stores.document import Codec, Document
from storage.stores.object_store import BadKey, ObjectNotFound, ObjectStore

CODEC: Codec[Job] = Codec(encode=job_to_record, decode=job_from_record)


@dataclass(frozen=True, slots=True)
class JobKey:
    """What finds a job's record."""

    tenant: str
    job_id: str


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, newest first; `cursor` continues the list, None at its end."""

    jobs: tuple[Job, ...]
    cursor: str | None


class Jobs:
    def __init__(self, store: ObjectStore, clock: Clock = utc_now) -> None:
        self._store = store
        self._clock = clock
        self._timeline = Timeline(store, "jobs")

    async def create(self, job: Job) -> tuple[Job, bool]:
        """Keep a new job, its marker first: (job, True), or (the one of that id, False)."""
        await self._store.put(paths.active(job.tenant, job.id), b"")
        await self._timeline.add(job.tenant, job.id, job.created_at)
        kept, created = await self._document(job.tenant, job.id).create(job)
        if kept.state.is_finished:
            await self.clear_active(JobKey(job.tenant, job.id))
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
            await self.clear_active(JobKey(tenant, job_id))
        return job

    async def clear_active(self, key: JobKey) -> None:
        await self._store.delete(paths.active(key.tenant, key.job_id))

    async def active(self) -> list[JobKey]:
        """All unfinished jobs of all tenants, by their markers."""
        tenants = await self._store.list_folders(paths.TENANTS)
        return [key for tenant in tenants for key in await self.active_of(tenant)]

    async def active_of(self, tenant: str) -> list[JobKey]:
        folder = paths.active_folder(tenant)
        return [JobKey(tenant, found.key.removeprefix(folder)) async for found in self._store.list(folder)]

    async def page(self, tenant: str, *, cursor: str | None = None, limit: int = 50) -> JobPage:
        """Raises BadKey for a cursor that no page gave."""
        entries = await self._timeline.after(tenant, cursor, limit)
        found = [(entry, await self.find(tenant, entry.record_id)) for entry in entries]
        jobs = tuple(
            job
            for entry, job in found
            if job is not None and paths.timeline_entry(job.created_at, job.id) == entry.name
        )
        return JobPage(jobs, entries[-1].name if len(entries) == limit else None)

    def _document(self, tenant: str, job_id: str) -> Document[Job]:
        return Document(self._store, paths.job(tenant, job_id), CODEC)
