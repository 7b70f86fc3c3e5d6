"""How a job ended, as its chain tells it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage.chain import edits
from storage.chain.jobs import Job, JobKind, JobState, finish
from storage.chain.model import Chain, Failure
from storage.chain.outcomes import CHAIN_GONE, outcome_in_chain, seen_through_chain
from tests.storage.chain.builders import NOW, chain_of, make_ready, pending, queued_job

BROKEN = Failure("engine-broke", "the engine broke")


@pytest.fixture
def chain() -> Chain:
    """With a pending node `n`, which the job is to make."""
    return edits.add_nodes(chain_of(), [pending("n", "root")], NOW)


@pytest.fixture
def job() -> Job:
    return queued_job()


def test_an_unfinished_node_leaves_the_job_as_recorded(chain: Chain, job: Job) -> None:
    for unfinished in (chain, edits.start(chain, "n", 1, NOW), chain_of(), None):
        assert outcome_in_chain(unfinished, job) is None
        assert seen_through_chain(unfinished, job) is job


def test_a_ready_node_is_a_success_though_the_record_still_says_queued(chain: Chain, job: Job) -> None:
    seen = seen_through_chain(make_ready(chain, "n"), job)
    assert (seen.state, seen.progress, seen.finished_at) == (JobState.SUCCEEDED, 1.0, NOW)
    assert seen.result == {"chain_id": "c", "node_id": "n"}


def test_a_failed_node_brings_its_reason(chain: Chain, job: Job) -> None:
    failed = edits.fail(edits.start(chain, "n", 1, NOW), "n", 1, BROKEN, NOW)
    seen = seen_through_chain(failed, job)
    assert (seen.state, seen.error) == (JobState.FAILED, BROKEN)


@pytest.mark.parametrize("edit", [edits.cancel, edits.discard])
def test_a_cancelled_node_is_a_cancelled_job(chain: Chain, job: Job, edit: object) -> None:
    assert callable(edit)
    assert seen_through_chain(edit(chain, "n", NOW), job).state is JobState.CANCELLED


def test_a_deleted_chain_cancels_what_was_unfinished(chain: Chain, job: Job) -> None:
    gone = edits.delete(chain, NOW)
    assert outcome_in_chain(gone, job) == CHAIN_GONE
    assert seen_through_chain(gone, job).state is JobState.CANCELLED


def test_deleting_a_chain_does_not_rewrite_how_its_jobs_had_ended(chain: Chain, job: Job) -> None:
    done = finish(job, JobState.SUCCEEDED, NOW, result={"chain_id": "c", "node_id": "n"})
    assert seen_through_chain(edits.delete(chain, NOW), done) is done


def test_the_chain_has_the_last_word_over_another_end(chain: Chain, job: Job) -> None:
    cancelled = finish(job, JobState.CANCELLED, NOW)
    assert seen_through_chain(make_ready(chain, "n"), cancelled).state is JobState.SUCCEEDED


def test_a_job_without_a_node_is_told_by_its_record_alone(chain: Chain, job: Job) -> None:
    export = replace(job, kind=JobKind.EXPORT, params={"chain_id": "c"})
    assert outcome_in_chain(edits.delete(chain, NOW), export) is None
