"""The worker: takes jobs as they are pushed, sweeps up what nobody pushed, and claims before it works.

Pushing is only the quick way. The active markers in the store are the truth: the sweep finds every unfinished
job, also those of processes that died, and claims a running one once its lease has run out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from configs.settings import JobSettings
from deployments.events.bus import Announcer, JobChanged, JobProgressed
from deployments.telemetry.jobs import JobMeter
from deployments.worker.attempt import CHAIN_DAMAGED, After, Attempt
from deployments.worker.foresight import Foresight
from deployments.worker.handlers.handler import JobHandler
from deployments.worker.heartbeat import Heart, Pulse
from deployments.worker.machines import Machines, UnknownMachines
from deployments.worker.pool import Lane, Pool, lane_of
from deployments.worker.rounds import Rounds
from storage.domain.jobs import (
    AttemptsExhausted,
    Job,
    JobKind,
    JobNotFound,
    JobState,
    LeaseWatch,
    Sign,
    claim,
    finish,
)
from storage.domain.model import DomainError, Failure, Fenced, Refused
from storage.domain.outcomes import Outcome
from storage.repositories.jobs import JobKey, Jobs, key_of
from storage.stores.document import DocumentCorrupt
from storage.stores.object_store import StoreError, StoreUnavailable

logger = logging.getLogger("segue.jobs")

PROGRESS_INTERVAL_S = 0.1
CONCURRENT_LISTINGS = 8


class Worker:
    """Works on up to `settings.concurrent` jobs at once, and on `settings.bulk` of those that nobody waits for
    at the screen; tenants take turns at both. `start` and `stop` belong to the running loop.

    `monotonic` and `heart` are this process's own clock and heart unless a simulation brings others; `foresight`
    tells clients when their jobs will be done. Of `machines` a claim that ended with its machine is known.
    """

    def __init__(
        self,
        jobs: Jobs,
        handlers: Mapping[JobKind, JobHandler],
        settings: JobSettings,
        announcer: Announcer,
        monotonic: Callable[[], float] = time.monotonic,
        heart: Pulse | None = None,
        foresight: Foresight | None = None,
        meter: JobMeter | None = None,
        machines: Machines | None = None,
    ) -> None:
        self._jobs = jobs
        self._handlers = handlers
        self._settings = settings
        self._announcer = announcer
        self._monotonic = monotonic
        self._watch = LeaseWatch(settings.takeover_grace_s)
        self._heart = heart or Heart(jobs)
        self._rounds = Rounds()
        self._foresight = foresight
        self._meter = meter or JobMeter()
        self._machines = machines or UnknownMachines()
        self._pools = {
            Lane.INTERACTIVE: Pool(settings.concurrent),
            Lane.BULK: Pool(settings.bulk),
        }
        self._waiting: set[JobKey] = set()
        self._attempts: dict[JobKey, Attempt] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._announced_s: dict[str, float] = {}
        self._answered_s = monotonic()  # when the storage last did

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._consume(pool))
            for pool in self._pools.values()
            for _ in range(pool.places)
        ]
        self._tasks.append(asyncio.create_task(self._sweep_forever()))
        if self._foresight is not None:
            self._tasks.append(asyncio.create_task(self._foresight.report_forever(self._in_queue)))

    async def stop(self) -> None:
        """Stop working and give the claims back to the queue."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._heart.close()

    @property
    def running(self) -> int:
        """How many jobs are being worked on here."""
        return len(self._attempts)

    @property
    def queued(self) -> int:
        """How many jobs wait here for a free place."""
        return sum(pool.waiting for pool in self._pools.values())

    def is_alive(self) -> bool:
        return all(not task.done() for task in self._tasks)

    def submit(self, key: JobKey) -> None:
        """Work on a job soon. Twice is once."""
        self._rounds.found(key.tenant, is_busy=True)
        self._enqueue(key, None)

    def look_at(self, key: JobKey) -> None:
        """A signal that the job may have been cancelled."""
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.look_now()

    async def sweep(self) -> None:
        """Find unfinished jobs that nobody works on, and queue them."""
        tenants = self._rounds.following(await self._jobs.tenants())
        self._answered_s = self._monotonic()
        active: list[JobKey] = []
        for first in range(0, len(tenants), CONCURRENT_LISTINGS):
            some = tenants[first : first + CONCURRENT_LISTINGS]
            found = await asyncio.gather(*(self._jobs.active_of(tenant) for tenant in some))
            for tenant, keys in zip(some, found, strict=True):
                self._rounds.found(tenant, is_busy=bool(keys))
                active += keys
        self._answered_s = self._monotonic()
        for key in active:
            if key in self._waiting or key in self._attempts:
                continue
            try:
                await self._sweep_up(key)
            except StoreUnavailable:
                raise
            except (StoreError, DomainError) as error:  # a record that nobody can read hides no other
                logger.warning("sweep: job %s: %r", key.job_id, error)
        self._watch.forget_all_but(frozenset(key.job_id for key in active))

    async def _sweep_up(self, key: JobKey) -> None:
        job = await self._jobs.find(key.tenant, key.job_id)
        self._answered_s = self._monotonic()
        if job is None:
            return  # its record is being written, or never was: the collector's business
        if job.state.is_finished:
            await self._jobs.clear_active(job)
            return
        stale = self._watch.observe(job, self._monotonic())
        if stale is not None and job.machine:
            stale = replace(stale, machine_gone=await self._machines.has_gone(job.machine))
        if job.state is JobState.QUEUED or stale is not None:
            self._enqueue(key_of(job), stale)

    def _enqueue(self, key: JobKey, stale: Sign | None) -> None:
        if key not in self._waiting and key not in self._attempts:
            self._waiting.add(key)
            self._pools[lane_of(key)].put(key, stale)
            self._measure_load()

    async def _sweep_forever(self) -> None:
        while True:
            try:
                await self.sweep()
            except StoreUnavailable as error:
                self._doubt_silence(error)
            except (StoreError, DomainError) as error:
                logger.warning("sweep: %r", error)
            await asyncio.sleep(self._settings.sweep_s)

    async def _consume(self, pool: Pool) -> None:
        while True:
            key, stale = await pool.take()
            try:
                await self._work_on(key, stale)
            except StoreUnavailable as error:
                self._doubt_silence(error)
            except (StoreError, DomainError) as error:
                logger.warning("job %s: %r", key.job_id, error)  # the sweep will find it again
            except Exception:
                logger.exception("job %s: unexpected error", key.job_id)
            finally:
                pool.give_back(key)
                self._waiting.discard(key)

    def _doubt_silence(self, error: StoreUnavailable) -> None:
        """While the storage is in trouble, no holder can beat: their silence says nothing of them. Each gets a
        whole lease again, in which it gives its claim back without counting the attempt. An answer that is missing
        now and then is no such trouble: beats get through between them."""
        logger.warning("the storage is in trouble: %s", error)
        if self._monotonic() - self._answered_s > self._settings.lease_s / 3:
            self._watch.forget_all_but(frozenset())

    async def _work_on(self, key: JobKey, stale: Sign | None) -> None:
        try:
            job = await self._claim(key, stale)
        except (Refused, JobNotFound):
            return
        self._meter.claimed(job, taken_over=stale is not None)
        handler = self._handlers[job.kind]
        if job.attempt > self._settings.max_attempts:
            await self._give_up(job, handler)
            return
        attempt = Attempt(
            job, handler, self._jobs, self._heart, self._settings, self._announce_progress, self._meter
        )
        self._attempts[key] = attempt
        self._announcer.announce(JobChanged(key.tenant, key.job_id))
        if self._foresight is not None:
            self._foresight.began(job)
        self._measure_load()
        try:
            with self._meter.attempt(job):
                after = await attempt.run()
        finally:
            del self._attempts[key]
            if self._foresight is not None:
                self._foresight.ended(job)
            self._announced_s.pop(job.id, None)
            self._measure_load()
        self._announcer.announce(JobChanged(key.tenant, key.job_id))
        if after is After.RETRY:
            asyncio.get_running_loop().call_later(self._settings.retry_delay_s, self.submit, key)

    async def _claim(self, key: JobKey, stale: Sign | None) -> Job:
        """Claim the job; after the last attempt only to be able to fail it."""
        try:
            return await self._claim_within(key, stale, self._settings.max_attempts)
        except AttemptsExhausted:
            return await self._claim_within(key, stale, None)

    async def _claim_within(self, key: JobKey, stale: Sign | None, max_attempts: int | None) -> Job:
        return await self._jobs.change(
            key.tenant,
            key.job_id,
            lambda job, now: claim(
                job,
                lease_s=self._settings.lease_s,
                max_attempts=max_attempts,
                stale=stale,
                now=now,
                machine=self._machines.here,
            ),
        )

    async def _give_up(self, job: Job, handler: JobHandler) -> None:
        tries = self._settings.max_attempts
        failure = job.error or Failure("attempts-exhausted", f"{tries} attempts died without a result")
        try:
            outcome = await handler.decided(job) or await handler.fail(job, failure)
        except Fenced:
            return
        except DocumentCorrupt:
            outcome = Outcome(JobState.FAILED, error=CHAIN_DAMAGED)
        logger.warning("job %s was given up, and ended as %s: %s", job.id, outcome.state, failure.detail)
        ended = await self._jobs.change(
            job.tenant,
            job.id,
            lambda now_job, now: finish(
                now_job, outcome.state, now, fence=job.fence, result=outcome.result, error=outcome.error
            ),
        )
        self._meter.ended(ended)

    def _measure_load(self) -> None:
        self._meter.loaded(running=self.running, waiting=self.queued)

    def _in_queue(self) -> list[JobKey]:
        """What waits for a free place, in the order of its turns, takes before whole tracks."""
        return [key for pool in self._pools.values() for key in pool.in_order()]

    def _announce_progress(self, job: Job, progress: float) -> None:
        if self._foresight is not None:
            self._foresight.progressed(job, progress)
        now_s = self._monotonic()
        if progress < 1.0 and now_s - self._announced_s.get(job.id, -1.0) < PROGRESS_INTERVAL_S:
            return
        self._announced_s[job.id] = now_s
        self._announcer.announce(
            JobProgressed(job.tenant, job.id, job.fence, job.chain_id, job.node_id, progress)
        )
