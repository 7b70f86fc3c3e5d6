"""All that one tenant has in the store, and which blobs are named, as one look from outside sees it.

The order of the look matters: first blobs, then markers, then the records of the jobs that made what nobody
seems to name, then those jobs' chains. A job ends after its chain has said how, so what is still unnamed
then, of a job that has ended, will never be named.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, TypeVar

from storage import paths
from storage.blob_names import ClaimOf, SourceOf, owner_of
from storage.domain.jobs import Job
from storage.domain.model import Chain, Node, NodeAudio
from storage.repositories.chains import Chains
from storage.repositories.exports import Barrier, Export, Exports
from storage.repositories.jobs import Jobs
from storage.stores.document import DocumentCorrupt
from storage.stores.object_store import ObjectInfo, ObjectStore

T = TypeVar("T")

logger = logging.getLogger("segue.storage")

CONCURRENT_READS = 16

Objects = dict[str, ObjectInfo]


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A document, and what the store knows of it."""

    info: ObjectInfo
    record: T


@dataclass(frozen=True, slots=True)
class Holdings:
    """Objects by the last part of their key, documents by their id. `now` is the store's own time.

    `damaged_...` are documents that cannot be read, so what they name is not known.
    `marked` are the jobs that have a marker and a record; `makers` those whose blobs no document seemed to
    name, None for one without a record; `repeated` those that have several list entries; `aged_jobs` those
    whose record is old, without a marker, and of which no chain speaks.
    """

    tenant: str
    now: datetime
    blobs: Objects
    segments: Objects
    released: Objects
    markers: Objects
    chain_entries: Objects
    job_entries: Objects
    job_records: Objects
    analyses: Objects
    peaks: Objects
    marked: dict[str, Job]
    makers: dict[str, Job | None]
    repeated: dict[str, Job]
    aged_jobs: dict[str, Job]
    chains: dict[str, Kept[Chain]]
    exports: dict[str, Kept[Export]]
    barriers: Objects
    damaged_chains: frozenset[str]
    damaged_jobs: frozenset[str]
    damaged_exports: Objects

    def age_s(self, info: ObjectInfo) -> float:
        """By the store's clock, which wrote both times."""
        return (self.now - info.modified_at).total_seconds()

    @property
    def unfinished(self) -> dict[str, Job]:
        return {job_id: job for job_id, job in self.marked.items() if not job.state.is_finished}

    def jobs_in_chains(self) -> frozenset[str]:
        """The jobs that made a node, or what is derived from one: their ids are taken while the chain is there."""
        nodes = [node for kept in self.chains.values() for node in kept.record.nodes]
        derived = {made.job_id for node in nodes for made in node.derived}
        return frozenset(derived | {node.job_id for node in nodes if node.job_id is not None})

    def named_blobs(self) -> frozenset[str]:
        """Every blob that a node or what is derived from it, an export, or an unfinished job names."""
        nodes = [node for kept in self.chains.values() for node in kept.record.nodes]
        audio = [node.audio for node in nodes]
        audio += [node.audio for kept in self.chains.values() for node in _undone(kept.record)]
        inputs = {name for job in self.unfinished.values() for name in job.inputs}
        exported = {blob.name for kept in self.exports.values() for blob in kept.record.blobs}
        made = [derived for node in nodes for derived in node.derived]
        tracks = {track.blob.name for derived in made for track in derived.tracks}
        documents = {derived.document.name for derived in made if derived.document is not None}
        return names_of(audio) | inputs | exported | tracks | documents


def _undone(chain: Chain) -> Iterable[Node]:
    """Crops that were undone, and may come back."""
    return (step.adds for step in chain.history.redo if step.adds is not None)


def names_of(audio: Iterable[NodeAudio | None]) -> frozenset[str]:
    """The blobs of some nodes' audio."""
    return frozenset(name for each in audio if each is not None for name in each.blob_names)


async def look(store: ObjectStore, tenant: str, *, jobs_s: float | None = None) -> Holdings:
    """`jobs_s` is the age from which the records of ended jobs are read for their own sake, None: never.

    Raises StoreError. Documents that cannot be read are `damaged_...`: whatever they may name is no garbage."""
    damaged_chains: set[str] = set()
    damaged_jobs: set[str] = set()
    chains, jobs, exports = Chains(store), Jobs(store), Exports(store)
    now = await _time_of(store, tenant)
    blobs = await _list(store, paths.folder(tenant, "blobs"))
    segments = await _list(store, paths.folder(tenant, "segments"))
    released = await _list(store, paths.folder(tenant, "released"))
    chain_entries = await _list(store, paths.timeline_folder(tenant, "chains"))
    job_entries = await _list(store, paths.timeline_folder(tenant, "jobs"))
    markers = await _list(store, paths.active_folder(tenant))
    marked = await _read(markers, lambda job_id: jobs.find(tenant, job_id), damaged_jobs)
    kept_chains, found_chains = await _look_at_chains(store, tenant, damaged_chains)
    kept_exports = await _list(store, paths.folder(tenant, "exports"))
    found_exports = await _read(kept_exports, lambda name: exports.read(tenant, name), set())
    seen = Holdings(
        tenant=tenant,
        now=now,
        blobs=blobs,
        segments=segments,
        released=released,
        markers=markers,
        chain_entries=chain_entries,
        job_entries=job_entries,
        job_records=await _list(store, paths.folder(tenant, "jobs")),
        analyses=await _list(store, paths.folder(tenant, "analyses")),
        peaks=await _list(store, paths.folder(tenant, "peaks")),
        marked=marked,
        makers={},
        aged_jobs={},
        repeated=await _read(_repeated(job_entries), lambda job_id: jobs.find(tenant, job_id), damaged_jobs),
        chains=_join(kept_chains, found_chains),
        exports=_join(
            kept_exports, {name: found for name, found in found_exports.items() if isinstance(found, Export)}
        ),
        barriers={
            name: kept_exports[name] for name, found in found_exports.items() if isinstance(found, Barrier)
        },
        damaged_chains=frozenset(damaged_chains),
        damaged_jobs=frozenset(damaged_jobs),
        damaged_exports={name: info for name, info in kept_exports.items() if name not in found_exports},
    )
    suspects = _makers_of_unnamed(seen)
    found = await _read(suspects, lambda job_id: jobs.find(tenant, job_id), damaged_jobs)
    in_chains = seen.jobs_in_chains()
    aged = [
        job_id
        for job_id, info in seen.job_records.items()
        if jobs_s is not None
        and seen.age_s(info) >= jobs_s
        and job_id not in markers
        and job_id not in in_chains
    ]
    again = {job.chain_id for job in found.values() if job.chain_id is not None}
    chains_again = await _read(again, lambda chain_id: chains.find(tenant, chain_id), damaged_chains)
    return replace(
        seen,
        makers={job_id: found.get(job_id) for job_id in suspects},
        aged_jobs=await _read(aged, lambda job_id: jobs.find(tenant, job_id), damaged_jobs),
        chains=seen.chains | _join(kept_chains, chains_again),
        damaged_chains=frozenset(damaged_chains),
        damaged_jobs=frozenset(damaged_jobs),
    )


async def _look_at_chains(
    store: ObjectStore, tenant: str, damaged: set[str]
) -> tuple[Objects, dict[str, Chain]]:
    """The chains' objects and the chains. It is looked again until nothing new is there: a duplicate is durable
    while its source is alive, so a look after the one that found the source deleted finds the duplicate."""
    chains, found, seen = Chains(store), dict[str, Chain](), set[str]()
    while True:
        objects = await _list(store, paths.folder(tenant, "chains"))
        new = objects.keys() - seen
        if not new:
            return objects, found
        found |= await _read(new, lambda chain_id: chains.find(tenant, chain_id), damaged)
        seen |= new


def _makers_of_unnamed(holdings: Holdings) -> frozenset[str]:
    owners = (owner_of(name) for name in holdings.blobs.keys() - holdings.named_blobs())
    return frozenset(owner.job_id for owner in owners if isinstance(owner, ClaimOf | SourceOf))


def _repeated(entries: Objects) -> frozenset[str]:
    """The ids that have more than one entry."""
    counts = Counter(paths.id_of_timeline_entry(name) for name in entries)
    return frozenset(record_id for record_id, count in counts.items() if count > 1)


async def _time_of(store: ObjectStore, tenant: str) -> datetime:
    """What time it is by the store's clock: an object is written for it."""
    key = paths.probe(tenant, secrets.token_hex(8))
    await store.put(key, b"")
    try:
        return (await store.head(key)).modified_at
    finally:
        await store.delete(key)


async def _list(store: ObjectStore, folder: str) -> Objects:
    return {info.key.removeprefix(folder).removesuffix(".json"): info async for info in store.list(folder)}


async def _read(
    names: Iterable[str], find: Callable[[str], Awaitable[T | None]], damaged: set[str]
) -> dict[str, T]:
    """The documents that are there, several read at a time; those that cannot be read are added to `damaged`."""
    gate = asyncio.Semaphore(CONCURRENT_READS)

    async def read(name: str) -> tuple[str, T | None]:
        async with gate:
            try:
                return name, await find(name)
            except DocumentCorrupt as error:
                logger.error("a record cannot be read, and what it may name is kept: %s", error)
                damaged.add(name)
                return name, None

    found = await asyncio.gather(*(read(name) for name in sorted(names)))
    return {name: record for name, record in found if record is not None}


def _join(objects: Objects, records: Mapping[str, T]) -> dict[str, Kept[T]]:
    return {name: Kept(objects[name], record) for name, record in records.items() if name in objects}
