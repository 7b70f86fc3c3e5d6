"""What of one tenant's holdings may be deleted, and why. Pure; `collector` says why each is safe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from storage import paths
from storage.blob_names import ClaimOf, ExportFile, SourceOf, UploadOf, job_of_segment, owner_of
from storage.domain.jobs import Job, JobKind
from storage.domain.model import Chain
from storage.gc.inventory import Holdings
from storage.stores.object_store import ObjectInfo

DAY_S = 24 * 3600.0
SHA256_DIGITS = 64


class Reason(StrEnum):
    ENDED_JOB = "marker of a job that has ended"
    NO_JOB = "marker of a job that never was"
    NO_RECORD = "list entry without a record"
    OLD_ENTRY = "list entry of a record that was deleted or has another time"
    EXPIRED = "export that has expired"
    PROCESSED = "upload whose processing has ended"
    NO_PROCESS = "upload that became no job"
    OLD_OUTPUT = "output of processing that has expired"
    UNPUBLISHED = "audio that its attempt did not publish"
    NO_CHAIN = "upload that became no chain"
    DELETED_CHAIN = "audio of a deleted chain"
    NO_EXPORT = "file of no export"
    HEARD = "segment of a job that has ended"
    OLD_NOTE = "note about a file that is gone"
    SAID = "analysis in the cache, long ago"
    OUTLINE = "peaks of audio that is gone"
    TOMBSTONE = "tombstone of a chain deleted long ago"
    BARRIER = "barrier against a record that did not come"
    OLD_JOB = "job that ended long ago"


OWN_TIME = frozenset({Reason.PROCESSED, Reason.OLD_OUTPUT})
"""What goes without the grace: a job that has ended says that nobody needs it."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept, in seconds by the store's clock; None: for good.

    `grace_s` is for garbage, `exports_s` for exported files, `tombstones_s` for what is left of deleted chains
    and of files that came to no export, `outputs_s` for what was made by processing, counted from its end,
    `analyses_s` for the cache of analyses (nodes keep their own), `jobs_s` for the records of jobs, counted from
    their end. `keys_s` is how long an Idempotency-Key is remembered: no job's record is kept for less.

    Raises ValueError if `exports_s`, `tombstones_s` or `jobs_s` is shorter than the grace.
    """

    grace_s: float = DAY_S
    exports_s: float | None = 30 * DAY_S
    tombstones_s: float | None = 30 * DAY_S
    outputs_s: float | None = DAY_S
    analyses_s: float | None = 30 * DAY_S
    jobs_s: float | None = 30 * DAY_S
    keys_s: float = DAY_S

    @property
    def records_of_jobs_s(self) -> float | None:
        return None if self.jobs_s is None else max(self.jobs_s, self.keys_s)

    def __post_init__(self) -> None:
        kept_s = [kept_s for kept_s in (self.exports_s, self.tombstones_s, self.jobs_s) if kept_s is not None]
        if self.grace_s <= 0 or min(kept_s, default=self.grace_s) < self.grace_s:
            raise ValueError("the grace must be longer than nothing, and nothing be kept for less than it")
        if self.outputs_s is not None and self.outputs_s <= 0:
            raise ValueError("outputs must be kept for longer than nothing")


@dataclass(frozen=True, slots=True)
class Doomed:
    """An object to be deleted, `age_s` old by the store's clock when it was found."""

    tenant: str
    key: str
    reason: Reason
    age_s: float
    size_bytes: int
    modified_at: datetime


def find_garbage(holdings: Holdings, retention: Retention) -> Iterator[Doomed]:
    """In the order in which it has to go: a record before what it names."""
    found = (
        *_markers(holdings, retention),
        *_entries(holdings, retention),
        *_expired_exports(holdings, retention),
        *_blobs(holdings, retention),
        *_segments(holdings, retention),
        *_notes(holdings, retention),
        *_analyses(holdings, retention),
        *_peaks(holdings, retention),
        *_tombstones(holdings, retention),
        *_barriers(holdings, retention),
        *_jobs(holdings, retention),
    )
    for info, reason in found:
        age_s = holdings.age_s(info)
        yield Doomed(holdings.tenant, info.key, reason, age_s, info.size_bytes, info.modified_at)


_Found = Iterator[tuple[ObjectInfo, Reason]]


def _markers(holdings: Holdings, retention: Retention) -> _Found:
    for job_id, info in holdings.markers.items():
        job = holdings.marked.get(job_id)
        if job is not None and job.state.is_finished:
            yield info, Reason.ENDED_JOB
        elif (
            job is None and job_id not in holdings.damaged_jobs and holdings.age_s(info) >= retention.grace_s
        ):
            yield info, Reason.NO_JOB


def _entries(holdings: Holdings, retention: Retention) -> _Found:
    for name, info in holdings.chain_entries.items():
        kept = holdings.chains.get(paths.id_of_timeline_entry(name))
        if holdings.age_s(info) < retention.grace_s:
            continue
        if paths.id_of_timeline_entry(name) in holdings.damaged_chains:
            continue
        if kept is None:
            yield info, Reason.NO_RECORD
        elif not leads_to(name, kept.record):
            yield info, Reason.OLD_ENTRY
    for name, info in holdings.job_entries.items():
        job_id = paths.id_of_timeline_entry(name)
        if holdings.age_s(info) < retention.grace_s:
            continue
        if job_id not in holdings.job_records:
            yield info, Reason.NO_RECORD
        elif job_id in holdings.repeated and not leads_to(name, holdings.repeated[job_id]):
            yield info, Reason.OLD_ENTRY


def _expired_exports(holdings: Holdings, retention: Retention) -> _Found:
    for info in (*(kept.info for kept in holdings.exports.values()), *holdings.damaged_exports.values()):
        if retention.exports_s is not None and holdings.age_s(info) >= retention.exports_s:
            yield info, Reason.EXPIRED


def _blobs(holdings: Holdings, retention: Retention) -> _Found:
    named = holdings.named_blobs()
    for name, info in holdings.blobs.items():
        known = name not in named and not _may_be_named_by_damaged(holdings, name)
        reason = _doom(holdings, retention, name) if known else None
        if reason is not None and (reason in OWN_TIME or holdings.age_s(info) >= retention.grace_s):
            yield info, reason


def _may_be_named_by_damaged(holdings: Holdings, name: str) -> bool:
    """Whether a document that cannot be read may name the blob."""
    if holdings.damaged_jobs & holdings.markers.keys():
        return True  # an export that is still to be made names any node's audio, though its chain be deleted
    match owner_of(name):
        case UploadOf():
            return bool(holdings.damaged_chains)  # a duplicate names what others have
        case SourceOf(job_id):
            return job_id in holdings.damaged_jobs
        case ExportFile():
            return bool(holdings.damaged_exports)
        case ClaimOf(job_id):
            job = holdings.makers.get(job_id)
            if job is None:
                return job_id in holdings.damaged_jobs or bool(
                    holdings.damaged_chains or holdings.damaged_exports
                )
            if job.kind is JobKind.EXPORT:
                return bool(holdings.damaged_exports)
            return bool(holdings.damaged_chains)
        case None:
            return False


def _doom(holdings: Holdings, retention: Retention, name: str) -> Reason | None:
    match owner_of(name):
        case UploadOf(chain_id):
            return _upload(holdings, retention, chain_id)
        case SourceOf(job_id):
            return _source(holdings, job_id)
        case ExportFile():
            exporting = any(job.kind is JobKind.EXPORT for job in holdings.unfinished.values())
            return None if exporting else _export_file(holdings, retention, name)
        case ClaimOf(job_id):
            return _made_under_a_claim(holdings, retention, job_id, name)
        case None:
            return None


def _segments(holdings: Holdings, retention: Retention) -> _Found:
    for name, info in holdings.segments.items():
        job_id = job_of_segment(name)
        if job_id is None or job_id in holdings.markers or holdings.age_s(info) < retention.grace_s:
            continue
        yield info, Reason.HEARD


def _upload(holdings: Holdings, retention: Retention, chain_id: str) -> Reason | None:
    kept = holdings.chains.get(chain_id)
    if kept is None or kept.record.deleted_at is None:
        return Reason.NO_CHAIN
    return Reason.DELETED_CHAIN if holdings.age_s(kept.info) >= retention.grace_s else None


def _source(holdings: Holdings, job_id: str) -> Reason | None:
    job = holdings.makers.get(job_id)
    if job is None:
        return Reason.NO_PROCESS
    return Reason.PROCESSED if job.state.is_finished else None


def _output(holdings: Holdings, retention: Retention, job: Job, name: str) -> Reason | None:
    """Of a process job that has ended: its record was written last when it did."""
    if all(track.blob.name != name for stage in job.stages for track in stage.tracks):
        return Reason.UNPUBLISHED
    record = holdings.job_records.get(job.id)
    if record is None or retention.outputs_s is None or holdings.age_s(record) < retention.outputs_s:
        return None
    return Reason.OLD_OUTPUT


def _export_file(holdings: Holdings, retention: Retention, name: str) -> Reason | None:
    note = holdings.released.get(name)
    return None if note is not None and holdings.age_s(note) < retention.grace_s else Reason.NO_EXPORT


def _made_under_a_claim(holdings: Holdings, retention: Retention, job_id: str, name: str) -> Reason | None:
    job = holdings.makers.get(job_id)
    if job_id in holdings.unfinished or (job is not None and not job.state.is_finished):
        return None
    if job is not None and job.kind is JobKind.EXPORT:
        return _export_file(holdings, retention, name)
    if job is not None and job.kind is JobKind.PROCESS:
        return _output(holdings, retention, job, name)
    kept = holdings.chains.get(job.chain_id) if job is not None and job.chain_id is not None else None
    if kept is None or job is None:
        return Reason.UNPUBLISHED
    if kept.record.deleted_at is not None:
        return Reason.DELETED_CHAIN if holdings.age_s(kept.info) >= retention.grace_s else None
    node = kept.record.find(str(job.node_id))
    return Reason.UNPUBLISHED if node is None or node.status.is_finished else None


def _notes(holdings: Holdings, retention: Retention) -> _Found:
    for name, info in holdings.released.items():
        if name not in holdings.blobs and holdings.age_s(info) >= retention.grace_s:
            yield info, Reason.OLD_NOTE


def _analyses(holdings: Holdings, retention: Retention) -> _Found:
    for info in holdings.analyses.values():
        if retention.analyses_s is not None and holdings.age_s(info) >= retention.analyses_s:
            yield info, Reason.SAID


def _peaks(holdings: Holdings, retention: Retention) -> _Found:
    """A node's peaks are named by the hash of its audio: as its blob is, or, of a crop, as its chain has it."""
    nodes = [node for kept in holdings.chains.values() for node in kept.record.nodes]
    heard = {name[-SHA256_DIGITS:] for name in holdings.blobs}
    heard |= {node.audio.sha256 for node in nodes if node.audio is not None}
    for name, info in holdings.peaks.items():
        if name[:SHA256_DIGITS] not in heard and holdings.age_s(info) >= retention.grace_s:
            yield info, Reason.OUTLINE


def _tombstones(holdings: Holdings, retention: Retention) -> _Found:
    needed = {job.chain_id for job in holdings.unfinished.values()}
    for chain_id, kept in holdings.chains.items():
        if (
            retention.tombstones_s is not None
            and kept.record.deleted_at is not None
            and chain_id not in needed
            and holdings.age_s(kept.info) >= retention.tombstones_s
        ):
            yield kept.info, Reason.TOMBSTONE


def _barriers(holdings: Holdings, retention: Retention) -> _Found:
    for info in holdings.barriers.values():
        if retention.tombstones_s is not None and holdings.age_s(info) >= retention.tombstones_s:
            yield info, Reason.BARRIER


def _jobs(holdings: Holdings, retention: Retention) -> _Found:
    """A job's list entries go before its record: an entry without a record would be a request's that broke off."""
    least_s = retention.records_of_jobs_s
    old = {
        job_id: holdings.job_records[job_id]
        for job_id, job in holdings.aged_jobs.items()
        if least_s is not None
        and job.state.is_finished
        and job_id not in holdings.markers
        and holdings.age_s(holdings.job_records[job_id]) >= least_s
    }
    if not old:
        return
    leads_to_something = _jobs_that_lead_to_something(holdings)
    gone = {job_id: info for job_id, info in old.items() if job_id not in leads_to_something}
    for name, info in holdings.job_entries.items():
        if paths.id_of_timeline_entry(name) in gone:
            yield info, Reason.OLD_JOB
    for info in gone.values():
        yield info, Reason.OLD_JOB


def _jobs_that_lead_to_something(holdings: Holdings) -> frozenset[str]:
    """Jobs whose record is needed to find what they made, or to judge what they left: an export, any blob,
    segments, or whatever a chain that cannot be read may say of them."""
    exports = holdings.exports.keys() | holdings.damaged_exports.keys()
    needed = {
        job_id
        for job_id, job in holdings.aged_jobs.items()
        if (job.result is not None and job.result.get("export_id") in exports)
        or job.chain_id in holdings.damaged_chains
    }
    owners = (owner_of(name) for name in holdings.blobs)
    makers = {owner.job_id for owner in owners if isinstance(owner, ClaimOf | SourceOf)}
    heard = {job_of_segment(name) for name in holdings.segments}
    return frozenset(needed | makers | {job_id for job_id in heard if job_id is not None})


def leads_to(entry: str, record: Chain | Job) -> bool:
    """True if a reader of the list who finds this entry shows this record."""
    deleted = isinstance(record, Chain) and record.deleted_at is not None
    return not deleted and paths.timeline_entry(record.created_at, record.id) == entry
