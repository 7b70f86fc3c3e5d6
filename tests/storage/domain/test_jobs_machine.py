"""Several claimants with clocks of their own work on one job; whatever they do, one of them at most holds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from storage.domain.jobs import (
    MOVES,
    AttemptsExhausted,
    Job,
    JobState,
    LeaseWatch,
    beat,
    claim,
    finish,
    release,
    request_cancel,
    sign_of,
)
from storage.domain.model import DomainError, Fenced, Refused
from tests.storage.domain.builders import START, queued_job

LEASE_S = 12.0
GRACE_S = 5.0
MAX_ATTEMPTS = 3
WORKERS = 3

workers = st.integers(0, WORKERS - 1)
ends = st.sampled_from([JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])


class Action(Protocol):
    def __call__(self, job: Job, *, fence: int) -> Job: ...


@dataclass
class Worker:
    """Its clock is `offset_s` away from true time; `fences` are the claims it ever got."""

    offset_s: float
    watch: LeaseWatch = field(default_factory=lambda: LeaseWatch(GRACE_S))
    fences: list[int] = field(default_factory=list)


class JobMachine(RuleBasedStateMachine):
    @initialize(offsets=st.lists(st.floats(-1e6, 1e6), min_size=WORKERS, max_size=WORKERS))
    def begin(self, offsets: list[float]) -> None:
        self.job = queued_job()
        self.workers = [Worker(offset_s) for offset_s in offsets]
        self.time_s = 0.0
        self.sign_since_s = 0.0

    @rule(seconds=st.sampled_from([0.5, 4.0, 11.0, 17.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.time_s += seconds

    @rule(worker=workers)
    def look_and_claim(self, worker: int) -> None:
        who, before = self.workers[worker], self.job
        stale = who.watch.observe(before, self.time_s + who.offset_s)
        if before.state is JobState.RUNNING and stale is None:
            return
        try:
            self.move(
                lambda job: claim(
                    job, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS, stale=stale, now=self.now()
                )
            )
        except AttemptsExhausted:
            assert before.attempt == MAX_ATTEMPTS
            return
        except Refused:
            assert before.state.is_finished
            return
        if before.state is JobState.RUNNING:
            assert self.time_s - self.sign_since_s >= LEASE_S + GRACE_S - 1e-6, "its holder was alive"
        assert self.job.fence == before.fence + 1
        who.fences.append(self.job.fence)
        self.sign_since_s = self.time_s

    @rule(worker=workers, progress=st.floats(0, 1))
    def sign_of_life(self, worker: int, progress: float) -> None:
        before = self.job
        if self.act(worker, lambda job, *, fence: beat(job, fence, progress, self.now())):
            self.sign_since_s = self.time_s
            assert self.job.progress >= before.progress
            assert sign_of(self.job) != sign_of(before)

    @rule(worker=workers, count_attempt=st.booleans())
    def give_back(self, worker: int, count_attempt: bool) -> None:
        self.act(worker, lambda job, *, fence: release(job, fence, self.now(), count_attempt=count_attempt))

    @rule(worker=workers, end=ends)
    def end(self, worker: int, end: JobState) -> None:
        self.act(worker, lambda job, *, fence: finish(job, end, self.now(), fence=fence))

    @rule()
    def ask_to_cancel(self) -> None:
        self.move(lambda job: request_cancel(job, self.now()))

    def act(self, worker: int, action: Action) -> bool:
        """Try it under every claim the worker ever got, as one that slept would. True if one of them held."""
        held = False
        for fence in self.workers[worker].fences:
            before = self.job
            holds = before.state is JobState.RUNNING and before.fence == fence
            try:
                self.move(partial(action, fence=fence))
            except Fenced:
                assert not holds
            else:
                assert holds or (before.state.is_finished and self.job is before)
                held = held or holds
        return held

    def move(self, action: Callable[[Job], Job]) -> None:
        before = self.job
        after = action(before)
        if after.state is not before.state:
            assert after.state in MOVES[before.state]
        assert after.fence >= before.fence
        assert (after.finished_at is not None) == after.state.is_finished
        self.job = after

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time_s)

    @invariant()
    def attempts_are_bounded_and_claims_are_never_given_twice(self) -> None:
        assert 0 <= self.job.attempt <= MAX_ATTEMPTS
        given = [fence for worker in self.workers for fence in worker.fences]
        assert len(given) == len(set(given)) == self.job.fence

    @invariant()
    def one_claimant_at_most_can_act(self) -> None:
        able = 0
        for worker in self.workers:
            for fence in worker.fences:
                try:
                    beat(self.job, fence, 0.5, START)
                    able += 1
                except DomainError:
                    pass
        assert able == (self.job.state is JobState.RUNNING)


TestJobMachine = JobMachine.TestCase
TestJobMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
