"""Whether the storage can be written to, looked at now and then: whoever asks meanwhile gets the last answer."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Literal

from deployments.telemetry import catalog
from deployments.telemetry.recorder import Nowhere, Recorder
from deployments.telemetry.traces import untraced
from storage import paths
from storage.stores.object_store import ObjectStore, StoreError, StoreFull, StoreMissing, StoreReadOnly

CACHE_S = 5.0
TIMEOUT_S = 3.0
_PROBE = bytes(64 * 1024)

logger = logging.getLogger("segue.storage")


@dataclass(frozen=True, slots=True)
class StorageState:
    """`reason` is in plain words, None where all is well."""

    status: Literal["ready", "full", "read-only", "missing", "unavailable"]
    reason: str | None = None


_READY = StorageState("ready")
_FULL = StorageState("full", "the storage is full")
_READ_ONLY = StorageState("read-only", "the storage takes no writes")
_MISSING = StorageState("missing", "the data folder is not there: it is deleted or not mounted")
_AWAY = StorageState("unavailable", "the storage does not answer")


class StorageCheck:
    """Writes one small object; asked all the time, no more often than every `CACHE_S`."""

    def __init__(
        self, store: ObjectStore, timeout_s: float = TIMEOUT_S, recorder: Recorder | None = None
    ) -> None:
        self._record = (recorder or Nowhere()).record
        self._store = store
        self._timeout_s = timeout_s
        self._looking = asyncio.Lock()
        self._last: tuple[float, StorageState] | None = None

    async def state(self) -> StorageState:
        async with self._looking:
            if self._last is None or time.monotonic() - self._last[0] > CACHE_S:
                with untraced():
                    found = await self._look()
                self._last = (time.monotonic(), found)
                self._record(catalog.STORAGE_READY, float(found == _READY))
            return self._last[1]

    async def _look(self) -> StorageState:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._store.put(paths.STORAGE_CHECK, _PROBE)
        except StoreFull:
            return _FULL
        except StoreReadOnly:
            return _READ_ONLY
        except StoreMissing:
            return _MISSING
        except (StoreError, TimeoutError) as error:
            logger.warning("the storage does not answer: %r", error)
            return _AWAY
        return _READY
