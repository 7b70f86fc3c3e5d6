"""The collector at work beside a runner: now and then, what nothing needs any more is deleted."""

from __future__ import annotations

import asyncio
import logging
import random

from deployments.telemetry import catalog
from deployments.telemetry.recorder import Nowhere, Recorder
from storage.domain.model import DomainError
from storage.gc.collector import Collector
from storage.stores.object_store import StoreError

logger = logging.getLogger("segue.housekeeping")

_JITTER = 0.2
"""Runners that were started together do not collect together, though it would do no harm."""


class Housekeeper:
    """Collects every `every_s`, for the first time after that. What fails is tried again the next time."""

    def __init__(self, collector: Collector, every_s: float, recorder: Recorder | None = None) -> None:
        self._record = (recorder or Nowhere()).record
        self._collector = collector
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def collect(self) -> int:
        """How many objects went."""
        gone = await self._collector.collect(await self._collector.plan())
        size_bytes = sum(doomed.size_bytes for doomed in gone)
        self._record(catalog.COLLECTED_OBJECTS, len(gone))
        self._record(catalog.COLLECTED_BYTES, size_bytes)
        logger.info("collected %d objects, %.1f MB", len(gone), size_bytes / 1e6)
        return len(gone)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s * random.uniform(1 - _JITTER, 1 + _JITTER))
            try:
                await self.collect()
            except (StoreError, DomainError) as error:
                logger.warning("nothing more is collected for now: %r", error)
