"""How a service pushes a job to the runners. That is only for speed: the sweep finds every job anyway."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from deployments.worker.worker import Worker
from storage.repositories.jobs import JobKey

logger = logging.getLogger("segue.jobs")


class JobQueue(Protocol):
    def submit(self, key: JobKey) -> None:
        """There is a new job."""
        ...

    def look_at(self, key: JobKey) -> None:
        """The job may have been cancelled."""
        ...


class WorkerQueue:
    """A worker in this process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def submit(self, key: JobKey) -> None:
        self._worker.submit(key)

    def look_at(self, key: JobKey) -> None:
        self._worker.look_at(key)


class RunnerQueue:
    """The `JobRunner` deployment, through its handle."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._sending: set[asyncio.Task[None]] = set()

    def submit(self, key: JobKey) -> None:
        self._send(self._handle.submit, key)

    def look_at(self, key: JobKey) -> None:
        self._send(self._handle.look_at, key)

    def _send(self, method: Any, key: JobKey) -> None:
        task = asyncio.get_running_loop().create_task(_call(method, key))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)


async def _call(method: Any, key: JobKey) -> None:
    try:
        await method.remote(key)
    except Exception as error:  # a runner that is restarting: its sweep finds the job
        logger.info("job %s was not pushed: %r", key.job_id, error)
