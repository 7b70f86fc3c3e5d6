"""Chains and jobs as JSON-able records, and back. `../FORMAT.md` specifies every field.

Reading ignores nothing silently: an unknown format version or a missing field raises `BadRecord`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from storage.domain.checks import require_types
from storage.domain.jobs import Job, JobKind, JobState, StageRecord, StageState
from storage.domain.model import (
    Action,
    BlobRef,
    Chain,
    CroppedFrom,
    Decision,
    Derived,
    DerivedKind,
    DomainError,
    Excerpt,
    Failure,
    History,
    Node,
    NodeAudio,
    NodeChange,
    NodeStatus,
    Origin,
    Step,
    Track,
)

A = TypeVar("A")
B = TypeVar("B")

FORMAT_VERSION = 4

READABLE_VERSIONS = (1, 2, 3, FORMAT_VERSION)
"""Version 1 knew nothing derived from nodes, and of a job's stages only name and seconds; version 2 no
documents; version 3 neither crops nor marks, and not which discard took a node along."""


class BadRecord(DomainError):
    """A stored record that this version cannot read."""


class NewerRecord(BadRecord):
    """A stored record of a format version that only newer code reads."""


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def chain_to_record(chain: Chain) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "id": chain.id,
        "tenant": chain.tenant,
        "title": chain.title,
        "version": chain.version,
        "created_at": format_time(chain.created_at),
        "updated_at": format_time(chain.updated_at),
        "root_id": chain.root_id,
        "sample_rate_hz": chain.sample_rate_hz,
        "channels": chain.channels,
        "request_sha256": chain.request_sha256,
        "deleted_at": _optional(format_time, chain.deleted_at),
        "nodes": [node_to_record(node) for node in chain.nodes],
        "removed_version": chain.removed_version,
        "history": history_to_record(chain.history),
    }


def chain_from_record(record: Mapping[str, Any]) -> Chain:
    """Raises BadRecord."""
    require_format(record)
    try:
        chain = Chain(
            id=record["id"],
            tenant=record["tenant"],
            title=record["title"],
            version=record["version"],
            created_at=parse_time(record["created_at"]),
            updated_at=parse_time(record["updated_at"]),
            root_id=record["root_id"],
            sample_rate_hz=record["sample_rate_hz"],
            channels=record["channels"],
            request_sha256=record["request_sha256"],
            deleted_at=_optional(parse_time, record["deleted_at"]),
            nodes=tuple(node_from_record(node, record["format_version"]) for node in record["nodes"]),
            **_history_of(record),
        )
        require_types(chain)
        _require_tree(chain)
        return chain
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"not a chain record: {error!r}") from error


def _history_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Up to version 3 a chain kept none."""
    if record["format_version"] <= 3:
        return {}
    return {
        "removed_version": record["removed_version"],
        "history": history_from_record(record["history"]),
    }


def history_to_record(history: History) -> dict[str, Any]:
    return {
        "undo": [_step_to_record(step) for step in history.undo],
        "redo": [_step_to_record(step) for step in history.redo],
        "requests": list(history.requests),
    }


def history_from_record(record: Mapping[str, Any]) -> History:
    return History(
        undo=tuple(_step_from_record(step) for step in record["undo"]),
        redo=tuple(_step_from_record(step) for step in record["redo"]),
        requests=tuple(record["requests"]),
    )


def _step_to_record(step: Step) -> dict[str, Any]:
    return {
        "action": step.action.value,
        "node_id": step.node_id,
        "at": format_time(step.at),
        "nodes": [
            {"node_id": change.node_id, "before": dict(change.before), "after": dict(change.after)}
            for change in step.nodes
        ],
        "title": None if step.title is None else list(step.title),
        "removes": step.removes,
        "adds": _optional(node_to_record, step.adds),
    }


def _step_from_record(record: Mapping[str, Any]) -> Step:
    title = record["title"]
    return Step(
        action=Action(record["action"]),
        node_id=record["node_id"],
        at=parse_time(record["at"]),
        nodes=tuple(
            NodeChange(change["node_id"], change["before"], change["after"]) for change in record["nodes"]
        ),
        title=None if title is None else (title[0], title[1]),
        removes=record["removes"],
        adds=_optional(node_from_record, record["adds"]),
    )


def _require_tree(chain: Chain) -> None:
    """Raises ValueError unless the nodes are one tree in creation order, or the chain is a tombstone without
    any."""
    if chain.deleted_at is not None and not chain.nodes:
        return
    seen: set[str] = set()
    for node in chain.nodes:
        is_root = not seen or (node.parent_id is None and node.cropped_from is not None)
        if node.id in seen or (node.parent_id is not None if is_root else node.parent_id not in seen):
            raise ValueError(f"node {node.id} is out of place")
        seen.add(node.id)
    if not chain.nodes or chain.nodes[0].id != chain.root_id:
        raise ValueError("the first node is not the root")


def job_to_record(job: Job) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "id": job.id,
        "kind": job.kind.value,
        "tenant": job.tenant,
        "created_at": format_time(job.created_at),
        "updated_at": format_time(job.updated_at),
        "started_at": _optional(format_time, job.started_at),
        "finished_at": _optional(format_time, job.finished_at),
        "request_sha256": job.request_sha256,
        "params": dict(job.params),
        "inputs": list(job.inputs),
        "state": job.state.value,
        "attempt": job.attempt,
        "fence": job.fence,
        "beat": job.beat,
        "lease_s": job.lease_s,
        "progress": job.progress,
        "cancel_requested": job.cancel_requested,
        "audio_s": job.audio_s,
        "weight": job.weight,
        "gpu_s": job.gpu_s,
        "stored_bytes": job.stored_bytes,
        "stages": [stage_to_record(stage) for stage in job.stages],
        "result": None if job.result is None else dict(job.result),
        "error": _optional(_failure_to_record, job.error),
        **({"origin": dict(job.origin)} if job.origin else {}),
        **({"machine": job.machine} if job.machine else {}),
        **({"machines_lost": job.machines_lost} if job.machines_lost else {}),
    }


def job_from_record(record: Mapping[str, Any]) -> Job:
    """Raises BadRecord."""
    require_format(record)
    try:
        job = Job(
            id=record["id"],
            kind=JobKind(record["kind"]),
            tenant=record["tenant"],
            created_at=parse_time(record["created_at"]),
            updated_at=parse_time(record["updated_at"]),
            started_at=_optional(parse_time, record["started_at"]),
            finished_at=_optional(parse_time, record["finished_at"]),
            request_sha256=record["request_sha256"],
            params=record["params"],
            inputs=_inputs_from_record(record),
            state=JobState(record["state"]),
            attempt=record["attempt"],
            fence=record["fence"],
            beat=record["beat"],
            lease_s=record["lease_s"],
            progress=record["progress"],
            cancel_requested=record["cancel_requested"],
            audio_s=_since_4(record, "audio_s", 0.0),
            weight=_since_4(record, "weight", 1),
            gpu_s=_since_4(record, "gpu_s", 0.0),
            stored_bytes=_since_4(record, "stored_bytes", 0),
            stages=tuple(_stage_from_record(stage, record["format_version"]) for stage in record["stages"]),
            result=record["result"],
            error=_optional(_failure_from_record, record["error"]),
            origin=record.get("origin", {}),
            machine=record.get("machine", ""),
            machines_lost=record.get("machines_lost", 0),
        )
        require_types(job)
        return job
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"not a job record: {error!r}") from error


def _since_4(record: Mapping[str, Any], name: str, before: Any) -> Any:
    """A field that records have from version 4 on, `before` in older ones."""
    return record[name] if record["format_version"] > 3 else before


def _inputs_from_record(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Up to version 3 a job's parameters alone held them."""
    if record["format_version"] > 3:
        return tuple(record["inputs"])
    params = record["params"]
    line = [audio_from_record(audio) for audio in params["line"]] if record["kind"] == "export" else []
    source = [params["source"]["blob"]["name"]] if record["kind"] == "process" else []
    return tuple(sorted({name for audio in line for name in audio.blob_names}.union(source)))


def blob_to_record(ref: BlobRef) -> dict[str, Any]:
    return {"name": ref.name, "sha256": ref.sha256, "size_bytes": ref.size_bytes}


def blob_from_record(record: Mapping[str, Any]) -> BlobRef:
    return BlobRef(record["name"], record["sha256"], record["size_bytes"])


def node_to_record(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "parent_id": node.parent_id,
        "origin": node.origin.value,
        "created_at": format_time(node.created_at),
        "status": node.status.value,
        "decision": node.decision.value,
        "duration_s": node.duration_s,
        "prompt": node.prompt,
        "params": dict(node.params),
        "seed": node.seed,
        "take": node.take,
        "job_id": node.job_id,
        "fence": node.fence,
        "changed_version": node.changed_version,
        "audio": _optional(audio_to_record, node.audio),
        "provenance": None if node.provenance is None else dict(node.provenance),
        "error": _optional(_failure_to_record, node.error),
        "derived": [_derived_to_record(derived) for derived in node.derived],
        "title": node.title,
        "stars": node.stars,
        "note": node.note,
        "discarded_in": node.discarded_in,
        "cropped_from": _optional(_cropped_from_to_record, node.cropped_from),
    }


def node_from_record(record: Mapping[str, Any], version: int | None = None) -> Node:
    """`version` None: as it stands in a job's parameters, which hold no version."""
    version = version or (FORMAT_VERSION if "cropped_from" in record else 3)
    has_marks = version > 3
    return Node(
        id=record["id"],
        parent_id=record["parent_id"],
        origin=Origin(record["origin"]),
        created_at=parse_time(record["created_at"]),
        status=NodeStatus(record["status"]),
        decision=Decision(record["decision"]),
        duration_s=record["duration_s"],
        prompt=record["prompt"],
        params=record["params"],
        seed=record["seed"],
        take=record["take"],
        job_id=record["job_id"],
        fence=record["fence"],
        changed_version=record["changed_version"],
        audio=_optional(audio_from_record, record["audio"]),
        provenance=record["provenance"],
        error=_optional(_failure_from_record, record["error"]),
        derived=tuple(_derived_from_record(derived, version) for derived in record["derived"])
        if version > 1
        else (),
        title=record["title"] if has_marks else None,
        stars=record["stars"] if has_marks else 0,
        note=record["note"] if has_marks else None,
        discarded_in=record["discarded_in"] if has_marks else _discarded_in(record),
        cropped_from=_optional(_cropped_from_from_record, record["cropped_from"]) if has_marks else None,
    )


def _discarded_in(record: Mapping[str, Any]) -> int | None:
    """Up to version 3 nothing of a discarded node changed, so the last change of it was its discard."""
    version: int | None = record["changed_version"] if record["decision"] == Decision.DISCARDED else None
    return version


def _cropped_from_to_record(cropped: CroppedFrom) -> dict[str, Any]:
    return {"node_id": cropped.node_id, "first_sample": cropped.first_sample, "samples": cropped.samples}


def _cropped_from_from_record(record: Mapping[str, Any]) -> CroppedFrom:
    return CroppedFrom(record["node_id"], record["first_sample"], record["samples"])


def _derived_to_record(derived: Derived) -> dict[str, Any]:
    return {
        "job_id": derived.job_id,
        "kind": derived.kind.value,
        "created_at": format_time(derived.created_at),
        "params": dict(derived.params),
        "status": derived.status.value,
        "fence": derived.fence,
        "tracks": [track_to_record(track) for track in derived.tracks],
        "document": _optional(blob_to_record, derived.document),
        "summary": None if derived.summary is None else dict(derived.summary),
        "provenance": None if derived.provenance is None else dict(derived.provenance),
        "error": _optional(_failure_to_record, derived.error),
    }


def _derived_from_record(record: Mapping[str, Any], version: int) -> Derived:
    return Derived(
        job_id=record["job_id"],
        kind=DerivedKind(record["kind"]),
        created_at=parse_time(record["created_at"]),
        params=record["params"],
        status=NodeStatus(record["status"]),
        fence=record["fence"],
        tracks=tuple(track_from_record(track) for track in record["tracks"]),
        document=_optional(blob_from_record, record["document"]) if version > 2 else None,
        summary=record["summary"] if version > 2 else None,
        provenance=record["provenance"],
        error=_optional(_failure_from_record, record["error"]),
    )


def track_to_record(track: Track) -> dict[str, Any]:
    return {
        "name": track.name,
        "blob": blob_to_record(track.blob),
        "format": track.format,
        "samples": track.samples,
        "sample_rate_hz": track.sample_rate_hz,
        "channels": track.channels,
        "rms_dbfs": track.rms_dbfs,
        "peak_dbfs": track.peak_dbfs,
        "facts": dict(track.facts),
    }


def track_from_record(record: Mapping[str, Any]) -> Track:
    return Track(
        name=record["name"],
        blob=blob_from_record(record["blob"]),
        format=record["format"],
        samples=record["samples"],
        sample_rate_hz=record["sample_rate_hz"],
        channels=record["channels"],
        rms_dbfs=record["rms_dbfs"],
        peak_dbfs=record["peak_dbfs"],
        facts=record["facts"],
    )


def stage_to_record(stage: StageRecord) -> dict[str, Any]:
    return {
        "name": stage.name,
        "seconds": stage.seconds,
        "state": stage.state.value,
        "params": dict(stage.params),
        "tracks": [track_to_record(track) for track in stage.tracks],
        "error": _optional(_failure_to_record, stage.error),
    }


def _stage_from_record(record: Mapping[str, Any], version: int) -> StageRecord:
    if version == 1:
        return StageRecord(record["name"], record["seconds"])
    return StageRecord(
        name=record["name"],
        seconds=record["seconds"],
        state=StageState(record["state"]),
        params=record["params"],
        tracks=tuple(track_from_record(track) for track in record["tracks"]),
        error=_optional(_failure_from_record, record["error"]),
    )


def audio_to_record(audio: NodeAudio) -> dict[str, Any]:
    return {
        "blob": blob_to_record(audio.blob),
        "samples": audio.samples,
        "sample_rate_hz": audio.sample_rate_hz,
        "channels": audio.channels,
        "rms_dbfs": audio.rms_dbfs,
        "peak_dbfs": audio.peak_dbfs,
        "lead_in": _optional(blob_to_record, audio.lead_in),
        "original": _optional(blob_to_record, audio.original),
        "original_format": audio.original_format,
        "original_name": audio.original_name,
        "excerpt": _optional(_excerpt_to_record, audio.excerpt),
    }


def audio_from_record(record: Mapping[str, Any]) -> NodeAudio:
    return NodeAudio(
        blob=blob_from_record(record["blob"]),
        samples=record["samples"],
        sample_rate_hz=record["sample_rate_hz"],
        channels=record["channels"],
        rms_dbfs=record["rms_dbfs"],
        peak_dbfs=record["peak_dbfs"],
        lead_in=_optional(blob_from_record, record["lead_in"]),
        original=_optional(blob_from_record, record["original"]),
        original_format=record["original_format"],
        original_name=record.get("original_name"),  # not kept at first
        excerpt=_optional(_excerpt_from_record, record.get("excerpt")),  # nor this, in jobs' parameters too
    )


def _excerpt_to_record(excerpt: Excerpt) -> dict[str, Any]:
    return {
        "first_sample": excerpt.first_sample,
        "blob_samples": excerpt.blob_samples,
        "sha256": excerpt.sha256,
    }


def _excerpt_from_record(record: Mapping[str, Any]) -> Excerpt:
    return Excerpt(record["first_sample"], record["blob_samples"], record["sha256"])


def _failure_to_record(failure: Failure) -> dict[str, Any]:
    return {"code": failure.code, "detail": failure.detail}


def _failure_from_record(record: Mapping[str, Any]) -> Failure:
    return Failure(record["code"], record["detail"])


def require_format(record: Mapping[str, Any]) -> None:
    """Raises BadRecord for a record of a format version that is not known."""
    version = record.get("format_version")
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT_VERSION:
        raise NewerRecord(f"record format {version} is newer than {FORMAT_VERSION}")
    if isinstance(version, bool | float) or version not in READABLE_VERSIONS:
        raise BadRecord(
            f"record format {record.get('format_version')!r} is none of {READABLE_VERSIONS}, which are read here"
        )


def _optional(convert: Callable[[A], B], value: A | None) -> B | None:
    return None if value is None else convert(value)
