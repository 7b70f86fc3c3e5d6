"""How a job that publishes in a chain ended: the chain says so, the job's record may lag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from storage.domain import derivations, edits
from storage.domain.jobs import Job, JobKind, JobState, finish, request_cancel
from storage.domain.model import Chain, Derived, Failure, Node, NodeStatus


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a job."""

    state: JobState
    result: Mapping[str, Any] | None = None
    error: Failure | None = None


CHAIN_GONE = Outcome(JobState.CANCELLED, error=Failure("chain-deleted", "the chain was deleted"))

_STATES: Mapping[NodeStatus, JobState] = {
    NodeStatus.READY: JobState.SUCCEEDED,
    NodeStatus.FAILED: JobState.FAILED,
    NodeStatus.CANCELLED: JobState.CANCELLED,
}


def outcome_of(chain: Chain, node: Node, made: Node | Derived) -> Outcome | None:
    """The outcome of the job that makes a node, or something derived from it; None while it is unfinished."""
    state = _STATES.get(made.status)
    if state is None:
        return None
    return Outcome(state, {"chain_id": chain.id, "node_id": node.id}, made.error)


def unfinished_jobs(node: Node) -> tuple[str, ...]:
    """The jobs that still make the node, or something derived from it."""
    return tuple(job_id for job_id, made in _made_by_jobs(node) if not made.status.is_finished)


def cancelled_jobs(chain: Chain, node: Node) -> tuple[tuple[str, Outcome], ...]:
    """The jobs of the node, and of what is derived from it, that the chain says are cancelled."""
    found = ((job_id, outcome_of(chain, node, made)) for job_id, made in _made_by_jobs(node))
    return tuple(
        (job_id, outcome)
        for job_id, outcome in found
        if outcome is not None and outcome.state is JobState.CANCELLED
    )


def _made_by_jobs(node: Node) -> Iterator[tuple[str, Node | Derived]]:
    if node.job_id is not None:
        yield node.job_id, node
    for derived in node.derived:
        yield derived.job_id, derived


def outcome_in_chain(chain: Chain | None, job: Job) -> Outcome | None:
    """The outcome of a job by its chain; None while it is unfinished, or what it makes is not in there yet."""
    if job.node_id is None or not job.kind.publishes_in_a_chain:
        return None
    if chain is not None and chain.deleted_at is not None:
        return CHAIN_GONE
    node = chain.find(job.node_id) if chain is not None else None
    if chain is None or node is None:
        return None
    made = node if job.kind is JobKind.GENERATE else node.derivation(job.id)
    return outcome_of(chain, node, made) if made is not None else None


def cancel_work(chain: Chain, job: Job, now: datetime) -> Chain:
    """Cancel what the job makes in its chain. Raises NodeNotFound, DerivationNotFound, ChainDeleted."""
    if job.kind is JobKind.GENERATE:
        return edits.cancel(chain, str(job.node_id), now)
    return derivations.cancel(chain, str(job.node_id), job.id, now)


def cancel(job: Job, outcome: Outcome | None, now: datetime) -> Job:
    """Ask a job to end, of which its chain says `outcome` (None: nothing, or nothing yet).

    A queued one ends at once where the chain has its outcome; else as `request_cancel` has it.
    """
    if outcome is not None and job.state is JobState.QUEUED:
        asked = replace(job, cancel_requested=True)
        return finish(asked, outcome.state, now, result=outcome.result, error=outcome.error)
    return request_cancel(job, now)


def seen_through_chain(chain: Chain | None, job: Job) -> Job:
    """The job as a client should see it: the chain's word over a record that lags."""
    outcome = outcome_in_chain(chain, job)
    if outcome is None or job.state is outcome.state:
        return job
    if outcome is CHAIN_GONE and job.state.is_finished:
        return job  # it had ended before its chain was deleted
    return replace(
        job,
        state=outcome.state,
        progress=1.0 if outcome.state is JobState.SUCCEEDED else job.progress,
        result=outcome.result,
        error=outcome.error,
        finished_at=job.finished_at or (chain.updated_at if chain is not None else job.updated_at),
    )
