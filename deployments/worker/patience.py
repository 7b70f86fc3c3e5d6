"""Waiting for what is in trouble without being broken: a full queue, a storage that is full, read-only or away."""

from __future__ import annotations

import asyncio
import errno
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from deployments.engines.common.errors import EngineBusy
from storage.stores.object_store import StoreUnavailable

T = TypeVar("T")

FIRST_PAUSE_S = 0.25
_TROUBLED_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE})

logger = logging.getLogger("segue.jobs")


def is_passing(error: BaseException) -> bool:
    """Whether the same work may succeed later for no merit of its own: the engine is busy, or the storage or the
    temporary disk is in trouble."""
    return isinstance(error, EngineBusy | StoreUnavailable) or (
        isinstance(error, OSError) and error.errno in _TROUBLED_DISK
    )


async def patiently(work: Callable[[], Awaitable[T]], name: str, *, longest_pause_s: float) -> T:
    """The result of `work`, tried again with growing random pauses as long as what it raises is passing.

    It waits for ever: the caller bounds it, or cancels it.
    """
    pause_s = min(FIRST_PAUSE_S, longest_pause_s)
    while True:
        try:
            return await work()
        except Exception as error:
            if not is_passing(error):
                raise
            logger.warning("%s waits for up to %.2f s: %s", name, pause_s, error)
        await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
        pause_s = min(longest_pause_s, pause_s * 2)
