"""Heartbeats from a thread of their own, so that no busy event loop lets a living job look dead.

A job's holder that has had no successful beat for two thirds of its lease must take itself for dead and stop:
another may claim the job from then on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from storage.domain.jobs import Job, JobNotFound, beat
from storage.domain.model import Fenced
from storage.repositories.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("segue.jobs")


class Pulse(Protocol):
    """What keeps the claims of a worker alive: `Heart`, or a simulation's own."""

    def beating(
        self, job: Job, progress: Callable[[], float], on_lost: Callable[[], None]
    ) -> AbstractContextManager[None]:
        """Beat for a claimed job every third of its lease.

        `progress` is read at each beat. `on_lost` is called once, perhaps from another thread, when the claim
        is lost or may be lost.
        """
        ...

    def close(self) -> None: ...


class Heart:
    """One thread with one event loop, which beats for all the jobs of a worker."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="segue-heart", daemon=True)
        self._thread.start()

    @contextmanager
    def beating(self, job: Job, progress: Callable[[], float], on_lost: Callable[[], None]) -> Iterator[None]:
        """As `Pulse` has it; `on_lost` is called from the heart's thread."""
        beats: Future[None] = asyncio.run_coroutine_threadsafe(
            keep_beating(self._jobs, job, progress, on_lost), self._loop
        )
        try:
            yield
        finally:
            beats.cancel()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end_beats(), self._loop)
        self._thread.join(timeout=5)
        if not self._loop.is_running():
            self._loop.close()

    async def _end_beats(self) -> None:
        beats = asyncio.all_tasks() - {asyncio.current_task()}
        for task in beats:
            task.cancel()
        await asyncio.gather(*beats, return_exceptions=True)
        self._loop.call_soon(self._loop.stop)


async def keep_beating(
    jobs: Jobs,
    job: Job,
    progress: Callable[[], float],
    on_lost: Callable[[], None],
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Beat for a claimed job until the claim is lost, or may be; then tell `on_lost`."""
    last_beat_s = monotonic()
    while True:
        await asyncio.sleep(job.lease_s / 3)
        try:
            async with asyncio.timeout(job.lease_s / 3):
                await jobs.change(
                    job.tenant, job.id, lambda now_job, now: beat(now_job, job.fence, progress(), now)
                )
        except (Fenced, JobNotFound):
            logger.info("job %s: claim %d is lost", job.id, job.fence)
            break
        except Exception as error:  # whatever it is, there was no beat, and the holder must come to know
            logger.warning("job %s: no heartbeat: %r", job.id, error)
            if monotonic() - last_beat_s >= job.lease_s * 2 / 3:
                break
        else:
            last_beat_s = monotonic()
    on_lost()
