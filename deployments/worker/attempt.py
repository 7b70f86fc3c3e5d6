"""One attempt at one claimed job: the work raced against everything that may end it early."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from configs.settings import JobSettings
from deployments.audio.decode.errors import DISK_FULL_ERRNOS
from deployments.engines.common.errors import (
    BadRequest,
    EngineBusy,
    EngineError,
    ModelUnavailable,
    UnknownModel,
)
from deployments.export.ffmpeg import ExportError
from deployments.worker.handlers.handler import JobHandler
from deployments.worker.heartbeat import Pulse
from storage.domain.jobs import Job, JobState, StageRecord, finish, release
from storage.domain.model import ChainDeleted, ChainNotFound, DomainError, Failure, Fenced
from storage.domain.outcomes import CHAIN_GONE, Outcome
from storage.repositories.blobs import BlobCorrupt
from storage.repositories.jobs import Jobs
from storage.stores.object_store import StoreError

logger = logging.getLogger("segue.jobs")

DISK_FULL = "the server has no room on its disk for this now"
EXPORT_FAILED = "the file could not be encoded"
AUDIO_DAMAGED = "stored audio that this needs is damaged or gone"
STORE_FAILED = "the storage did not take or give what this needs"
"""What errors of the store say names keys, hosts and paths: that is for the log."""


class After(StrEnum):
    """What the worker does with the job after an attempt."""

    DONE = "done"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class _Again:
    """The attempt failed in a way that another may not."""

    failure: Failure
    count_attempt: bool


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
    ) -> None:
        self._job = job
        self._handler = handler
        self._jobs = jobs
        self._heart = heart
        self._settings = settings
        self._on_progress = on_progress
        self._progress = 0.0
        self._look = asyncio.Event()

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
            return After.DONE
        except asyncio.CancelledError:
            try:
                await self._release(None, count_attempt=False)
            except (StoreError, DomainError) as error:  # the lease will run out instead
                logger.warning("job %s: not given back: %r", job.id, error)
            raise
        if isinstance(end, _Again):
            logger.warning("job %s, attempt %d: %s", job.id, job.attempt, end.failure.detail)
            await self._release(end.failure, count_attempt=end.count_attempt)
            return After.RETRY
        if end.state is JobState.FAILED and end.error is not None:
            logger.warning("job %s failed in attempt %d: %s", job.id, job.attempt, end.error.detail)
        stages = (StageRecord(job.kind.value, round(time.monotonic() - started_s, 3)),)
        await self._finish(end, stages)
        try:
            await self._handler.clean_up(job)
        except StoreError as error:
            logger.warning("job %s: not cleaned up: %r", job.id, error)
        return After.DONE

    async def _end_of_work(self) -> Outcome | _Again:
        lost = asyncio.Event()
        loop = asyncio.get_running_loop()
        with self._heart.beating(self._job, lambda: self._progress, lambda: _set_from_thread(loop, lost)):
            deadline = asyncio.timeout(self._settings.deadline_s)
            try:
                async with deadline:
                    return await self._work_or_decision(lost)
            except (ChainDeleted, ChainNotFound):
                return CHAIN_GONE
            except EngineBusy as error:
                return _Again(Failure("busy", str(error)), count_attempt=False)
            except (BadRequest, UnknownModel, ModelUnavailable) as error:
                return await self._handler.fail(self._job, Failure(_code_of(error), str(error)))
            except BlobCorrupt as error:
                logger.warning("job %s: %s", self._job.id, error)  # it names keys of the store
                return await self._handler.fail(self._job, Failure(_code_of(error), AUDIO_DAMAGED))
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
                    detail = f"no result within {self._settings.deadline_s:g} s"
                    return await self._handler.fail(self._job, Failure("deadline", detail))
                if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
                    logger.warning("job %s: the disk is full: %r", self._job.id, error)
                    return await self._again_or_fail(Failure("disk-full", DISK_FULL))
                logger.exception("job %s: unexpected error", self._job.id)
                return await self._again_or_fail(Failure("internal", f"unexpected {type(error).__name__}"))

    async def _again_or_fail(self, failure: Failure) -> Outcome | _Again:
        if self._job.attempt < self._settings.max_attempts:
            return _Again(failure, count_attempt=True)
        return await self._handler.fail(self._job, failure)

    async def _work_or_decision(self, lost: asyncio.Event) -> Outcome:
        """The handler's outcome, or one decided elsewhere. Raises Fenced when the claim is lost."""
        opened = await self._handler.open(self._job)
        if opened is not None:
            return opened
        work = asyncio.create_task(self._handler.run(self._job, self._report))
        watch = asyncio.create_task(self._decided_elsewhere())
        loss = asyncio.create_task(lost.wait())
        try:
            await asyncio.wait({work, watch, loss}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if watch.done():
                return watch.result()
            raise Fenced(f"job {self._job.id}: no heartbeat got through")
        finally:
            for task in (work, watch, loss):
                task.cancel()
            await asyncio.gather(work, watch, loss, return_exceptions=True)

    async def _decided_elsewhere(self) -> Outcome:
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
        await self._jobs.change(
            job.tenant,
            job.id,
            lambda now_job, now: finish(
                now_job,
                end.state,
                now,
                fence=fence,
                result=end.result,
                error=end.error,
                stages=now_job.stages or stages,
            ),
        )

    async def _release(self, failure: Failure | None, *, count_attempt: bool) -> None:
        job = self._job
        try:
            await self._jobs.change(
                job.tenant,
                job.id,
                lambda now_job, now: release(
                    now_job, job.fence, now, count_attempt=count_attempt, error=failure
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
