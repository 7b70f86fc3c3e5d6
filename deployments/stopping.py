"""Work in a thread that ends when the task that waits for it is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The work was stopped before its end."""


class Stop:
    """Asks work in another thread to end. The work calls `check` now and then, and names with `calling` what ends
    whatever it waits for."""

    def __init__(self) -> None:
        self._is_set = False
        self._end: Callable[[], None] | None = None
        self._turn = threading.Lock()

    def set(self) -> None:
        with self._turn:
            self._is_set = True
            if self._end is not None:
                self._end()

    def check(self) -> None:
        """Raises Stopped once `set` has been called."""
        if self._is_set:
            raise Stopped

    @contextmanager
    def calling(self, end: Callable[[], None]) -> Iterator[None]:
        """Within the context `set` calls `end`, at once where it was called before."""
        with self._turn:
            self._end = end
            if self._is_set:
                end()
        try:
            yield
        finally:
            with self._turn:
                self._end = None


async def in_thread(work: Callable[[Stop], T]) -> T:
    """The result of `work(stop)`, run in a thread. Where this task is cancelled, the work is stopped, and has ended
    when CancelledError comes out."""
    stop = Stop()
    running = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # seen: a thread that was stopped ends with an error
        raise
