"""How a job that publishes a node ended: the chain says so, the job's record may lag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from storage.chain.jobs import Job, JobState, finish, request_cancel
from storage.chain.model import Chain, Failure, Node, NodeStatus


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


def outcome_of_node(chain: Chain, node: Node) -> Outcome | None:
    """The outcome of the node's job; None while it is unfinished."""
    state = _STATES.get(node.status)
    if state is None:
        return None
    return Outcome(state, {"chain_id": chain.id, "node_id": node.id}, node.error)


def outcome_in_chain(chain: Chain | None, job: Job) -> Outcome | None:
    """The outcome of a job by its chain; None while it is unfinished, or the node is not in the chain yet."""
    if job.node_id is None:
        return None
    if chain is not None and chain.deleted_at is not None:
        return CHAIN_GONE
    node = chain.find(job.node_id) if chain is not None else None
    return outcome_of_node(chain, node) if chain is not None and node is not None else None


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
