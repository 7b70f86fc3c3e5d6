"""One attempt at one claimed job: the work raced against everything that may end it early."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from configs.settings import JobSettings
from deployments.engines.common.errors import BadRequest, EngineError, ModelUnavailable, UnknownModel
from deployments.export.ffmpeg import ExportError
from deployments.telemetry.jobs import JobMeter
from deployments.telemetry.spending import Spending, charged_to
from deployments.telemetry.traces import untraced
from deployments.worker.handlers.handler import JobHandler
from deployments.worker.heartbeat import Pulse
from deployments.worker.patience import patiently
from storage.domain.jobs import Job, JobState, StageRecord, charge, finish, release
from storage.domain.model import ChainDeleted, ChainNotFound, DomainError, Failure, Fenced
from storage.domain.outcomes import CHAIN_GONE, Outcome
from storage.repositories.blobs import BlobCorrupt
from storage.repositories.jobs import Jobs
from storage.stores.document import DocumentCorrupt
from storage.stores.object_store import StoreError, StoreUnavailable

logger = logging.getLogger("segue.jobs")

CHAIN_DAMAGED = Failure("damaged", "the record of the job's chain is damaged and cannot be read")

EXPORT_FAILED = "the file could not be encoded"
AUDIO_DAMAGED = "stored audio that this needs is damaged or gone"
STORE_FAILED = "the storage did not take or give what this needs"
"""What errors of the store say names keys, hosts and paths: that is for the log."""


class _Unbeaten(Exception):
    """No heartbeat got through for so long that another may claim the job."""


class After(StrEnum):
    """What the worker does with the job after an attempt."""

    DONE = "done"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class _Again:
    """The attempt failed in a way that another may not."""

    failure: Failure


class Attempt:
    """`job` is the record as claimed. `cut_short` may be called from any coroutine of the same loop."""

    def __init__(
        self,
        job: Job,
        handler: JobHandler,
        jobs: Jobs,
        heart: Pulse,
        settings: JobSettings,
        on_progress: Callable[[Job, float], None],
        meter: JobMeter | None = None,
    ) -> None:
        self._meter = meter or JobMeter()
        self._job = job
        self._handler = handler
        self._jobs = jobs
        self._heart = heart
        self._settings = settings
        self._on_progress = on_progress
        self._progress = 0.0
        self._spent = Spending()
        self._look = asyncio.Event()
        self._is_open = asyncio.Event()

    def look_now(self) -> None:
        """Look at once whether the job was decided elsewhere (a cancel signal)."""
        self._look.set()

    async def run(self) -> After:
        """Work until the job has ended, must be tried again, or belongs to somebody else.

        Cancelling this coroutine (a tidy stop) gives the claim back without counting the attempt.
        """
        job, started_s = self._job, time.monotonic()
        try:
            end = await self._end_of_work()
        except Fenced as error:
            logger.info("job %s: %s", job.id, error)
            self._meter.lease_lost(job, "fenced")
            return After.DONE
        except asyncio.CancelledError:
            self._meter.attempt_ended(job, "stopped")
            try:
                await self._release(None, count_attempt=False)
            except (StoreError, DomainError) as error:  # the lease will run out instead
                logger.warning("job %s: not given back: %r", job.id, error)
            raise
        self._meter.attempt_ended(job, "done" if isinstance(end, Outcome) else "retry")
        if end is None:
            self._meter.lease_lost(job, "silent")
            await self._give_back()
            return After.RETRY
        if isinstance(end, _Again):
            logger.warning("job %s, attempt %d: %s", job.id, job.attempt, end.failure.detail)
            failure = end.failure
            await self._until_stored(lambda: self._release(failure, count_attempt=True))
            return After.RETRY
        if end.state is JobState.FAILED and end.error is not None:
            logger.warning("job %s failed in attempt %d: %s", job.id, job.attempt, end.error.detail)
        stages = (StageRecord(job.kind.value, round(time.monotonic() - started_s, 3)),)
        outcome = end
        await self._until_stored(lambda: self._finish(outcome, stages))
        try:
            await self._handler.clean_up(job)
        except StoreError as error:
            logger.warning("job %s: not cleaned up: %r", job.id, error)
        return After.DONE

    async def _give_back(self) -> None:
        """After a time without heartbeats: give the claim back without counting the attempt, once the storage is
        back and if nobody has taken the job over by then."""
        await self._until_stored(lambda: self._release(None, count_attempt=False))

    async def _until_stored(self, change: Callable[[], Awaitable[None]]) -> None:
        """Make a last change to the record, while the storage is in trouble: up to the attempt's time limit."""
        longest_pause_s = min(self._settings.longest_pause_s, self._settings.lease_s / 3)
        async with asyncio.timeout(self._settings.deadline_s):
            await patiently(change, f"job {self._job.id}", longest_pause_s=longest_pause_s)

    async def _end_of_work(self) -> Outcome | _Again | None:
        """None: there were no heartbeats for so long that another claim may have begun."""
        lost = asyncio.Event()
        loop = asyncio.get_running_loop()
        with self._heart.beating(self._job, lambda: self._progress, lambda: _set_from_thread(loop, lost)):
            deadline = asyncio.timeout(self._settings.deadline_s)
            try:
                async with deadline:
                    return await self._work_or_decision(lost)
            except _Unbeaten:
                return None
            except (ChainDeleted, ChainNotFound):
                return CHAIN_GONE
            except (BadRequest, UnknownModel, ModelUnavailable) as error:
                return await self._handler.fail(self._job, Failure(_code_of(error), str(error)))
            except BlobCorrupt as error:
                logger.warning("job %s: %s", self._job.id, error)  # it names keys of the store
                return await self._handler.fail(self._job, Failure(_code_of(error), AUDIO_DAMAGED))
            except DocumentCorrupt as error:
                logger.error("job %s: %s", self._job.id, error)
                return Outcome(JobState.FAILED, error=CHAIN_DAMAGED)
            except ExportError as error:
                logger.warning("job %s: %s", self._job.id, error)  # it may name files of this machine
                return await self._handler.fail(self._job, Failure(_code_of(error), EXPORT_FAILED))
            except StoreError as error:
                logger.warning("job %s: %s", self._job.id, error)  # it names keys and hosts
                return await self._again_or_fail(Failure(_code_of(error), STORE_FAILED))
            except EngineError as error:
                return await self._again_or_fail(Failure(_code_of(error), str(error)))
            except DomainError:
                raise
            except Exception as error:
                if isinstance(error, TimeoutError) and deadline.expired():
                    failure = Failure("deadline", f"no result within {self._settings.deadline_s:g} s")
                    return await self._fail(failure)
                logger.exception("job %s: unexpected error", self._job.id)
                return await self._again_or_fail(Failure("internal", f"unexpected {type(error).__name__}"))

    async def _again_or_fail(self, failure: Failure) -> Outcome | _Again:
        if self._job.attempt < self._settings.max_attempts:
            return _Again(failure)
        return await self._fail(failure)

    async def _fail(self, failure: Failure) -> Outcome | _Again:
        try:
            return await self._handler.fail(self._job, failure)
        except StoreUnavailable as error:
            logger.warning("job %s: its failure is not stored: %s", self._job.id, error)
            return _Again(failure)  # whoever claims it next stores it

    async def _work_or_decision(self, lost: asyncio.Event) -> Outcome:
        """The handler's outcome, or one decided elsewhere. Raises _Unbeaten when the claim may be lost."""
        work = asyncio.create_task(
            patiently(self._work, f"job {self._job.id}", longest_pause_s=self._settings.longest_pause_s)
        )
        watch = asyncio.create_task(self._decided_elsewhere())
        loss = asyncio.create_task(lost.wait())
        try:
            await asyncio.wait({work, watch, loss}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if watch.done():
                return watch.result()
            raise _Unbeaten
        finally:
            for task in (work, watch, loss):
                task.cancel()
            await asyncio.gather(work, watch, loss, return_exceptions=True)

    async def _work(self) -> Outcome:
        """Under one claim, so that waiting for a busy engine or a storage in trouble writes nothing."""
        if not self._is_open.is_set():
            opened = await self._handler.open(self._job)
            if opened is not None:
                return opened
            self._is_open.set()
        with charged_to(self._spent):
            return await self._handler.run(self._job, self._report)

    async def _decided_elsewhere(self) -> Outcome:
        with untraced():
            return await self._watch_decisions()

    async def _watch_decisions(self) -> Outcome:
        # Not before the node is in its chain: a job that ends without it leaves the node to a request that still
        # brings it in, and nobody would ever work on it.
        await self._is_open.wait()
        while True:
            self._look.clear()
            try:
                async with asyncio.timeout(self._settings.watch_s):
                    await self._look.wait()
            except TimeoutError:
                pass
            try:
                job = await self._jobs.load(self._job.tenant, self._job.id)
                outcome = await self._handler.decided(job)
            except StoreError as error:  # whether the claim still holds is the heart's to say
                logger.warning("job %s: no look at what was decided: %r", self._job.id, error)
                continue
            if outcome is not None:
                return outcome

    def _report(self, progress: float) -> None:
        self._progress = max(self._progress, min(1.0, progress))
        self._on_progress(self._job, self._progress)

    async def _finish(self, end: Outcome, stages: tuple[StageRecord, ...]) -> None:
        """Record the end, with `stages` unless the handler has recorded its own.

        Where the chain has it already, another claim on the record does not matter.
        """
        job = self._job
        fence = None if job.kind.publishes_in_a_chain else job.fence
        gpu_s, stored_bytes = self._spent.gpu_s, self._spent.stored_bytes
        was_over = False

        def ended(now_job: Job, now: datetime) -> Job:
            nonlocal was_over
            was_over = now_job.state.is_finished
            return finish(
                charge(now_job, gpu_s, stored_bytes),
                end.state,
                now,
                fence=fence,
                result=end.result,
                error=end.error,
                stages=now_job.stages or stages,
            )

        record = await self._jobs.change(job.tenant, job.id, ended)
        if not was_over:
            self._meter.ended(record)

    async def _release(self, failure: Failure | None, *, count_attempt: bool) -> None:
        job = self._job
        gpu_s, stored_bytes = self._spent.gpu_s, self._spent.stored_bytes
        try:
            await self._jobs.change(
                job.tenant,
                job.id,
                lambda now_job, now: release(
                    charge(now_job, gpu_s, stored_bytes),
                    job.fence,
                    now,
                    count_attempt=count_attempt,
                    error=failure,
                ),
            )
        except Fenced as error:
            logger.info("job %s: %s", job.id, error)


def _set_from_thread(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(event.set)


def _code_of(error: Exception) -> str:
    """`EngineBroken` -> `engine-broken`."""
    name = type(error).__name__
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
