"""The collector: deletes what nothing will ever need again.

It takes only what no document names, whose job has no marker, and what is more than a day old by the store's
own clock. A day is long; yet processes have stood still for longer, and then gone on. So time alone is
believed only where nothing is lost by it. Everything else on a plan is garbage for good when it is put there,
or is made so before it is deleted:

- *Audio of a claim*, `{job}-{fence}-…`: its job has ended, and a job ends only after its chain has said how
  or will never take the node. An ended node takes no other audio, and a claim that was superseded publishes
  nothing: its fence is not the node's. `holdings` reads the chain after the job, so that it sees what was
  published while it looked. No claim ever writes a name that another wrote.
- *An upload without its chain*: its writer may still be about to make the chain. So the collector makes it
  first, as a tombstone, if there is none: either that fails, and the upload stays, or the writer finds that
  its chain was deleted. *An upload beside its chain* was not taken, and only a chain's making takes one.
- *Audio of a deleted chain*: another chain may name it, but only a duplicate that was durable while the chain was
  alive, and the chains are looked at until no new one is there. A process that stands still for more than a day
  between reading a chain and making its duplicate finds the chain deleted then, and deletes the duplicate.
- *A track to be processed*: its job has ended, and nobody else reads it; or there never was a job, and then
  the record is made first, of a job that failed. *What processing made* goes when its job has ended long
  enough ago by the store's clock: a later request gets 410.
- *A segment of a job without a marker*: its job has ended, or never was, and nothing names a segment. Who
  listens to it still goes on with the node.
- *A marker without a record*: likewise the record is made first, of a job that failed. Who comes back to
  accept the job finds it ended. *A marker of an ended job* is nothing that anybody waits for.
- *A list entry without a record*: as the marker, or as the upload. An entry beside a record with another time
  leads nowhere, for no record changes its time.
- *Audio of a deleted chain* goes a day after the deletion: who is listening may listen to the end.
- *An exported file without a record*: its writer may still be about to write the record, or the write may be on its
  way. So the collector puts a barrier in the record's place first: either that fails, and the file stays if the
  record names it, or the record does not land, and its writer writes the file again, under another name.
- *An expired export*: first the note `released/{blob}`, then the record, and the file once the note is a day
  old. So a download that has begun, or an export that has just found the record, finds the file.

- *Peaks of audio that is gone*: they are made again from the audio, wherever that is.

- *A job that ended long ago*: its record goes, after its list entries, when nothing is left of what it made, and no
  chain speaks of it. Ids derive from Idempotency-Keys and from the work: a job made anew under the id of a node
  that is there would find that node, not make its own.

Time alone is believed three times. A tombstone goes after a month, and a barrier; a process that stood still for
that long could make the chain anew, or name a file that is gone. So could a request that stood still for that long
make a job anew.

Whatever fails, fails alone: every deletion is lawful by itself, and the next run finds what is left. Several
collectors may run at once, and a plan may be carried out at any later time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from storage import paths
from storage.blob_names import ExportFile, SourceOf, UploadOf, owner_of
from storage.domain import edits
from storage.domain.jobs import Job, JobKind, JobState
from storage.domain.model import Chain, Failure
from storage.gc.inventory import look, names_of
from storage.gc.rules import Doomed, Reason, Retention, find_garbage, leads_to
from storage.repositories.chains import CODEC as CHAIN_CODEC
from storage.repositories.exports import Barrier, Exports
from storage.repositories.jobs import CODEC as JOB_CODEC
from storage.repositories.jobs import Jobs
from storage.stores.document import Document, DocumentCorrupt
from storage.stores.object_store import BadKey, ObjectInfo, ObjectNotFound, ObjectStore

BROKEN_OFF = Failure("abandoned", "the request was broken off before the job was accepted")


class Collector:
    def __init__(self, store: ObjectStore, retention: Retention | None = None) -> None:
        self._store = store
        self._retention = retention or Retention()

    async def plan(self) -> list[Doomed]:
        """What may be deleted now. Nothing is touched: one empty object for each tenant comes and goes, to
        tell the store's time.

        A document that cannot be read is left alone with all that it may name. Raises StoreError.
        """
        return [
            doomed
            for tenant in await self._store.list_folders(paths.TENANTS)
            for doomed in find_garbage(
                await look(self._store, tenant, jobs_s=self._retention.records_of_jobs_s), self._retention
            )
        ]

    async def collect(self, plan: Sequence[Doomed]) -> list[Doomed]:
        """Delete what is on a plan; returns what went. What turned out to be needed after all is spared.

        Raises StoreError; what went until then is gone, and the rest is found again.
        """
        return [doomed for doomed in plan if await self._delete(doomed)]

    async def _delete(self, doomed: Doomed) -> bool:
        name = doomed.key.rsplit("/", 1)[1].removesuffix(".json")
        try:
            info = await self._store.head(doomed.key)
            if _written_since(doomed, info) or not await self._settle(doomed, name):
                return False
        except (ObjectNotFound, BadKey):  # gone, or put there by another program
            return False
        except DocumentCorrupt:  # what it names is not known
            return False
        await self._store.delete(doomed.key)
        if doomed.reason is Reason.NO_EXPORT:
            await self._store.delete(paths.released(doomed.tenant, name))
        return True

    async def _settle(self, doomed: Doomed, name: str) -> bool:
        """See to it that what is to be deleted is garbage for good; False if it is none."""
        tenant, written_at = doomed.tenant, doomed.modified_at
        match doomed.reason:
            case Reason.NO_JOB:
                job, _ = await self._bar_job(tenant, name, written_at)
                return job.state.is_finished
            case Reason.NO_PROCESS:
                owner = owner_of(name)
                if not isinstance(owner, SourceOf):
                    return False
                job, _ = await self._bar_job(tenant, owner.job_id, written_at)
                return job.state.is_finished
            case Reason.NO_CHAIN:
                owner = owner_of(name)
                if not isinstance(owner, UploadOf):
                    return False
                chain, _ = await self._bar_chain(tenant, owner.chain_id, written_at)
                return name not in names_of(node.audio for node in chain.nodes)
            case Reason.NO_RECORD if doomed.key.startswith(paths.timeline_folder(tenant, "jobs")):
                job, barred = await self._bar_job(tenant, paths.id_of_timeline_entry(name), written_at)
                return barred or not leads_to(name, job)
            case Reason.NO_RECORD:
                chain, _ = await self._bar_chain(tenant, paths.id_of_timeline_entry(name), written_at)
                return not leads_to(name, chain)
            case Reason.OLD_JOB:
                job_id = name
                if doomed.key.startswith(paths.timeline_folder(tenant, "jobs")):
                    job_id = paths.id_of_timeline_entry(name)
                return await self._has_ended(tenant, job_id)
            case Reason.NO_EXPORT:
                owner = owner_of(name)
                if not isinstance(owner, ExportFile) or owner.export_id is None:
                    return True  # written by a version of the code that runs no more
                barrier = Barrier(owner.export_id, tenant, written_at)
                return await Exports(self._store).bar(barrier, name)
            case Reason.EXPIRED:
                export = await Exports(self._store).find(tenant, name)
                if export is not None:
                    await self._store.put(paths.released(tenant, export.blob.name), b"")
                return True
            case _:
                return True

    async def _has_ended(self, tenant: str, job_id: str) -> bool:
        job = await Jobs(self._store).find(tenant, job_id)
        return job is None or job.state.is_finished

    async def _bar_job(self, tenant: str, job_id: str, at: datetime) -> tuple[Job, bool]:
        """The job of that id; if there was none (True), one that failed, so that none comes any more."""
        ended = Job(
            id=job_id,
            kind=JobKind.GENERATE,
            tenant=tenant,
            created_at=at,
            updated_at=at,
            request_sha256="",
            state=JobState.FAILED,
            error=BROKEN_OFF,
            finished_at=at,
        )
        return await Document(self._store, paths.job(tenant, job_id), JOB_CODEC).create(ended)

    async def _bar_chain(self, tenant: str, chain_id: str, at: datetime) -> tuple[Chain, bool]:
        """The chain of that id; if there was none (True), a tombstone, so that none comes any more."""
        tombstone = edits.tombstone(chain_id, tenant, at, at)
        return await Document(self._store, paths.chain(tenant, chain_id), CHAIN_CODEC).create(tombstone)


def _written_since(doomed: Doomed, info: ObjectInfo) -> bool:
    """True if the object is not the one that was found. Some servers tell whole seconds of one object only."""
    return (info.modified_at - doomed.modified_at).total_seconds() >= 1.0
