"""The rules of jobs, one by one: who may claim, beat, give back and end one, and when a holder counts as dead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage.domain.jobs import (
    MAX_MACHINES_LOST,
    MOVES,
    AttemptsExhausted,
    Job,
    JobKind,
    JobState,
    LeaseWatch,
    Sign,
    StageRecord,
    beat,
    claim,
    finish,
    record_stage,
    release,
    request_cancel,
    sign_of,
)
from storage.domain.model import Failure, Fenced, Refused
from tests.storage.domain.builders import NOW, START, queued_job

LEASE_S = 12.0
GRACE_S = 5.0
BROKEN = Failure("engine-broke", "the engine broke")
ENDS = [state for state in JobState if state.is_finished]


def claimed(job: Job, stale: Sign | None = None, max_attempts: int | None = 3) -> Job:
    return claim(job, lease_s=LEASE_S, max_attempts=max_attempts, stale=stale, now=NOW)


class TestClaim:
    def test_a_queued_job_is_taken_under_the_next_fence(self) -> None:
        job = claimed(queued_job())
        assert (job.state, job.fence, job.attempt, job.beat) == (JobState.RUNNING, 1, 1, 0)
        assert (job.started_at, job.lease_s) == (NOW, LEASE_S)

    def test_a_job_that_is_worked_on_is_left_alone(self) -> None:
        job = claimed(queued_job())
        for stale in (None, Sign(fence=0, beat=0), Sign(fence=1, beat=7)):
            with pytest.raises(Refused, match="being worked on"):
                claimed(job, stale)

    def test_a_beat_between_watching_and_claiming_saves_the_holder(self) -> None:
        job = claimed(queued_job())
        stale = sign_of(job)
        with pytest.raises(Refused):
            claimed(beat(job, 1, 0.1, NOW), stale)
        assert claimed(job, stale).fence == 2

    def test_a_takeover_starts_over_after_the_steps_that_are_done(self) -> None:
        job = beat(claimed(queued_job()), 1, 0.7, NOW)
        job = record_stage(job, 1, StageRecord("separation", 0.2), NOW)
        taken = claimed(job, sign_of(job))
        assert (taken.fence, taken.attempt, taken.beat, taken.progress) == (2, 2, 0, 0.0)
        assert taken.stages == job.stages
        again = record_stage(taken, 2, StageRecord("separation", 0.3), NOW)
        assert again.stages == (StageRecord("separation", 0.3),)
        with pytest.raises(Fenced):
            record_stage(taken, 1, StageRecord("composite", 0.1), NOW)

    def test_after_three_attempts_nobody_tries_again_but_to_fail_it(self) -> None:
        job = queued_job()
        for _ in range(3):
            job = claimed(job, sign_of(job))
        with pytest.raises(AttemptsExhausted):
            claimed(job, sign_of(job))
        last = claimed(job, sign_of(job), max_attempts=None)
        assert finish(last, JobState.FAILED, NOW, fence=4, error=BROKEN).state is JobState.FAILED

    def test_an_attempt_that_ended_with_its_machine_does_not_count_but_not_for_ever(self) -> None:
        """A job that brings its machines down ends too."""
        job = claimed(queued_job())
        for lost in range(1, MAX_MACHINES_LOST + 1):
            job = claimed(job, replace(sign_of(job), machine_gone=True), max_attempts=1)
            assert (job.attempt, job.fence, job.machines_lost) == (1, lost + 1, lost)
        with pytest.raises(AttemptsExhausted):
            claimed(job, replace(sign_of(job), machine_gone=True), max_attempts=1)
        with pytest.raises(Refused):  # a holder that beats is alive, wherever it is
            claimed(beat(job, job.fence, 0.1, NOW), replace(sign_of(job), machine_gone=True))
        assert claimed(job, sign_of(job)).attempt == 2

    @pytest.mark.parametrize("end", ENDS)
    def test_a_finished_job_is_never_claimed(self, end: JobState) -> None:
        with pytest.raises(Refused, match=end.value):
            claimed(finish(queued_job(), end, NOW))


class TestHolding:
    def test_progress_never_falls_under_one_claim(self) -> None:
        job = claimed(queued_job())
        for told in (0.4, 0.2, 0.5):
            job = beat(job, 1, told, NOW)
        assert (job.progress, job.beat) == (0.5, 3)

    def test_an_older_claim_can_do_nothing(self) -> None:
        job = claimed(queued_job())
        job = claimed(job, sign_of(job))
        with pytest.raises(Fenced):
            beat(job, 1, 0.5, NOW)
        with pytest.raises(Fenced):
            release(job, 1, NOW, count_attempt=True)
        with pytest.raises(Fenced):
            finish(job, JobState.SUCCEEDED, NOW, fence=1)

    def test_a_tidy_stop_costs_no_attempt_and_a_failed_try_does(self) -> None:
        job = claimed(queued_job())
        assert release(job, 1, NOW, count_attempt=False).attempt == 0
        tried = release(job, 1, NOW, count_attempt=True, error=BROKEN)
        assert (tried.attempt, tried.state, tried.error) == (1, JobState.QUEUED, BROKEN)

    def test_a_claim_given_back_is_no_claim(self) -> None:
        job = release(claimed(queued_job()), 1, NOW, count_attempt=False)
        with pytest.raises(Fenced):
            beat(job, 1, 0.5, NOW)
        assert claimed(job).fence == 2


class TestEnding:
    def test_success_carries_its_result_and_is_whole(self) -> None:
        job = finish(claimed(queued_job()), JobState.SUCCEEDED, NOW, fence=1, result={"node_id": "n"})
        assert (job.state, job.result, job.progress) == (JobState.SUCCEEDED, {"node_id": "n"}, 1.0)
        assert job.finished_at == NOW

    def test_success_after_a_failed_try_shows_no_error(self) -> None:
        job = claimed(release(claimed(queued_job()), 1, NOW, count_attempt=True, error=BROKEN))
        assert finish(job, JobState.SUCCEEDED, NOW, fence=2).error is None

    @pytest.mark.parametrize("end", ENDS)
    def test_the_first_end_stays(self, end: JobState) -> None:
        job = finish(claimed(queued_job()), end, NOW, fence=1)
        for other in ENDS:
            assert finish(job, other, NOW, fence=1) is job
            assert finish(job, other, NOW) is job
        assert request_cancel(job, NOW) is job

    @pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
    def test_only_an_end_ends_a_job(self, state: JobState) -> None:
        for job, fence in ((queued_job(), None), (claimed(queued_job()), None), (claimed(queued_job()), 1)):
            with pytest.raises(Refused, match="cannot end"):
                finish(job, state, NOW, fence=fence)

    def test_the_chains_word_ends_a_job_without_a_claim(self) -> None:
        assert finish(queued_job(), JobState.SUCCEEDED, NOW).state is JobState.SUCCEEDED
        assert finish(claimed(queued_job()), JobState.CANCELLED, NOW).state is JobState.CANCELLED

    def test_a_queued_export_is_cancelled_at_once_and_a_running_one_is_asked(self) -> None:
        export = replace(queued_job(), kind=JobKind.EXPORT)
        assert request_cancel(export, NOW).state is JobState.CANCELLED
        asked = request_cancel(claimed(export), NOW)
        assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
        assert request_cancel(asked, NOW) is asked

    def test_a_take_is_asked_even_if_it_is_queued_for_the_chain_has_its_end(self) -> None:
        asked = request_cancel(queued_job(), NOW)
        assert (asked.state, asked.cancel_requested) == (JobState.QUEUED, True)

    def test_only_ends_have_no_moves(self) -> None:
        assert {state for state in JobState if not MOVES[state]} == set(ENDS)
        assert len(ENDS) == 3


class TestLeaseWatch:
    def test_a_holder_is_dead_after_a_whole_lease_and_the_grace_without_a_sign(self) -> None:
        watch, job = LeaseWatch(GRACE_S), claimed(queued_job())
        assert watch.observe(job, 1000.0) is None
        assert watch.observe(job, 1000.0 + LEASE_S + GRACE_S - 0.1) is None
        assert watch.observe(job, 1000.0 + LEASE_S + GRACE_S) == sign_of(job)

    def test_a_single_look_proves_nothing_however_late(self) -> None:
        assert LeaseWatch(GRACE_S).observe(claimed(queued_job()), 1e9) is None

    def test_every_beat_and_every_claim_starts_the_wait_anew(self) -> None:
        watch, job = LeaseWatch(GRACE_S), claimed(queued_job())
        watch.observe(job, 0.0)
        job = beat(job, 1, 0.1, NOW)
        assert watch.observe(job, 16.0) is None
        assert watch.observe(job, 32.0) is None
        job = claimed(job, sign_of(job))
        assert watch.observe(job, 33.5) is None
        assert watch.observe(job, 50.4) is None
        assert watch.observe(job, 50.5) == Sign(fence=2, beat=0)

    def test_the_holders_own_lease_counts(self) -> None:
        watch = LeaseWatch(GRACE_S)
        job = claim(queued_job(), lease_s=60.0, max_attempts=3, stale=None, now=NOW)
        watch.observe(job, 0.0)
        assert watch.observe(job, 64.0) is None
        assert watch.observe(job, 65.0) is not None

    def test_jobs_that_do_not_run_are_not_watched(self) -> None:
        watch, job = LeaseWatch(GRACE_S), claimed(queued_job())
        watch.observe(job, 0.0)
        assert watch.observe(finish(job, JobState.SUCCEEDED, NOW, fence=1), 100.0) is None
        assert watch.observe(queued_job(), 100.0) is None
        assert watch.observe(job, 200.0) is None, "watching begins anew"

    def test_what_is_forgotten_must_be_watched_anew(self) -> None:
        watch = LeaseWatch(GRACE_S)
        kept, dropped = claimed(queued_job("kept")), claimed(queued_job("dropped"))
        for job in (kept, dropped):
            watch.observe(job, 0.0)
        watch.forget_all_but(frozenset({"kept"}))
        assert watch.observe(kept, 100.0) is not None
        assert watch.observe(dropped, 100.0) is None


def test_a_job_names_its_chain_and_node_only_if_it_has_them() -> None:
    assert (queued_job().chain_id, queued_job().node_id) == ("c", "n")
    bare = replace(queued_job(), params={"chain_id": 5}, created_at=START)
    assert (bare.chain_id, bare.node_id) == (None, None)
