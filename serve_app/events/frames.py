"""What is sent of chains and jobs, as frames of an event stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from deployments.events.bus import JobForeseen, JobProgressed
from serve_app.chains.schemas import StepView, chain_view, node_view, step_view
from serve_app.http.fields import Outlook, ProgressOf
from serve_app.http.sse import frame
from serve_app.jobs.schemas import JobView, job_view
from storage.domain.events import changes_since
from storage.domain.history import next_redo, next_undo
from storage.domain.jobs import Job
from storage.domain.model import Chain
from storage.domain.ranking import fellow_takes, ranks
from storage.domain.records import format_time
from storage.domain.tree import spine

Event = tuple[str, dict[str, Any]]
"""A frame's event name and its data."""


class ChainHeader(BaseModel):
    """A chain without its nodes: the last frame of every change."""

    id: str
    title: str
    version: int
    updated_at: str
    root_id: str
    sample_rate_hz: int | None
    channels: int | None
    spine: list[str]
    undo: StepView | None
    redo: StepView | None
    deleted: bool


class ChainSummary(ChainHeader):
    """A chain as a list of all chains shows it. `duration_s` is the length of the committed line."""

    created_at: str
    duration_s: float
    node_count: int
    unfinished_count: int


class TenantSnapshot(BaseModel):
    """All chains, the newest first, and the unfinished jobs, the oldest first. `version` is what to resume from;
    `damaged` are the ids of chains that are there and cannot be read."""

    chains: list[ChainSummary]
    jobs: list[JobView]
    damaged: list[str]
    version: str


def chain_header(chain: Chain) -> ChainHeader:
    return ChainHeader(
        id=chain.id,
        title=chain.title,
        version=chain.version,
        updated_at=format_time(chain.updated_at),
        root_id=chain.root_id,
        sample_rate_hz=chain.sample_rate_hz,
        channels=chain.channels,
        spine=[node.id for node in spine(chain)],
        undo=step_view(next_undo(chain)),
        redo=step_view(next_redo(chain)),
        deleted=chain.deleted_at is not None,
    )


def chain_summary(chain: Chain) -> ChainSummary:
    return ChainSummary(
        **chain_header(chain).model_dump(),
        created_at=format_time(chain.created_at),
        duration_s=sum(node.audio.duration_s for node in spine(chain) if node.audio is not None),
        node_count=len(chain.nodes),
        unfinished_count=sum(not node.status.is_finished for node in chain.nodes),
    )


def chain_frames(chain: Chain, since: int | None, progress_of: ProgressOf) -> Iterator[bytes]:
    """What a client that holds the chain at version `since` needs to hold it as it is; None: it holds nothing."""
    if chain.deleted_at is None and changes_since(chain, since).snapshot:
        yield frame("snapshot", chain_view(chain, progress_of).model_dump(), id=chain.version)
        return
    if chain.version == since:
        return
    for event, data in node_events(chain, since, progress_of):
        yield frame(event, data)
    yield frame("chain", chain_header(chain).model_dump(), id=chain.version)


def node_events(chain: Chain, since: int | None, progress_of: ProgressOf) -> Iterator[Event]:
    """The nodes that changed after version `since`, and those whose ranks may have changed with them."""
    changed = changes_since(chain, since).nodes
    ranked = ranks(chain)
    for node in (*changed, *fellow_takes(chain, changed)):
        shown = node_view(chain.id, node, progress_of, rank=ranked.get(node.id))
        yield "node", shown.model_dump()


def job_frame(job: Job, progress_of: ProgressOf) -> bytes:
    return frame("job", job_view(job, progress_of).model_dump())


def progress_event(notice: JobProgressed | JobForeseen, progress_of: ProgressOf) -> dict[str, Any]:
    """How far a job is, and what is foreseen of it: whichever of both is news, the other comes along."""
    if isinstance(notice, JobProgressed):
        progress = notice.progress
        outlook = replace(progress_of.outlook(notice.job_id), queue_position=None)
    else:
        progress = progress_of.latest(notice.job_id)
        outlook = Outlook(notice.queue_position, None if notice.eta_s is None else round(notice.eta_s, 1))
    return {
        "chain_id": notice.chain_id,
        "node_id": notice.node_id,
        "job_id": notice.job_id,
        "progress": progress,
        "queue_position": outlook.queue_position,
        "eta_s": outlook.eta_s,
    }
