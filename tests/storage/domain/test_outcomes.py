"""How a job ended, as its chain tells it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage.domain import decisions, edits
from storage.domain.jobs import Job, JobKind, JobState, claim, finish
from storage.domain.model import Chain, Failure
from storage.domain.outcomes import CHAIN_GONE, cancel, outcome_in_chain, seen_through_chain
from tests.storage.domain.builders import NOW, chain_of, make_ready, pending, queued_job

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


@pytest.mark.parametrize("edit", [edits.cancel, decisions.discard])
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


class TestCancel:
    def test_a_queued_job_ends_at_once_as_its_chain_says(self, chain: Chain, job: Job) -> None:
        cancelled = outcome_in_chain(edits.cancel(chain, "n", NOW), job)
        ended = cancel(job, cancelled, NOW)
        assert (ended.state, ended.cancel_requested, ended.finished_at) == (JobState.CANCELLED, True, NOW)

    def test_what_was_published_stays_a_success(self, chain: Chain, job: Job) -> None:
        """By a claim that was given back before it could end the record."""
        ended = cancel(job, outcome_in_chain(make_ready(chain, "n"), job), NOW)
        assert (ended.state, ended.result) == (JobState.SUCCEEDED, {"chain_id": "c", "node_id": "n"})

    def test_where_the_chain_says_nothing_the_record_waits_for_it(self, job: Job) -> None:
        """The node may be on its way into the chain; a record that had ended would leave it unfinished."""
        asked = cancel(job, outcome_in_chain(chain_of(), job), NOW)
        assert (asked.state, asked.cancel_requested) == (JobState.QUEUED, True)

    def test_a_running_job_is_left_to_its_holder(self, chain: Chain, job: Job) -> None:
        running = claim(job, lease_s=12, max_attempts=3, stale=None, now=NOW)
        asked = cancel(running, outcome_in_chain(edits.cancel(chain, "n", NOW), job), NOW)
        assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
