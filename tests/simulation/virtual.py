"""An event loop without a clock, a socket or a thread: time jumps to the next thing that will happen.

Everything runs in strands. A strand is what the operating system would pause or kill as one: a process, or a
thread in it. Within a strand callbacks run in order, as in any event loop; which strand goes next is drawn
from the schedule's own luck. So one seed is one interleaving.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

_STRAND: ContextVar[Strand] = ContextVar("strand")


class NothingLeft(RuntimeError):
    """No callback is ready and none is scheduled: somebody waits for what will never come."""


class Strand:
    """Callbacks that run in order, and stand still or end together."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.name = name
        self.stalled_until_s = 0.0
        self.ready: deque[asyncio.Handle] = deque()
        self._loop = loop
        self._context: Context = copy_context()
        self._context.run(_STRAND.set, self)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this strand, started by whoever."""
        return self._context.copy().run(self._loop.create_task, work)

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> None:
        self._loop.call_later(delay_s, callback, *args, context=self._context.copy())

    def stall(self, duration_s: float) -> None:
        """Run nothing for so long. What comes due meanwhile waits."""
        self.stalled_until_s = max(self.stalled_until_s, self._loop.time() + duration_s)

    def die(self) -> None:
        """Run nothing any more, not even what cleans up."""
        self.stalled_until_s = math.inf

    def revive(self) -> None:
        """Let what is left clean up: for the end of a simulation, when nothing counts any more."""
        self.stalled_until_s = 0.0


def current_strand() -> Strand:
    return _STRAND.get()


class VirtualLoop(asyncio.BaseEventLoop):
    """`time()` is virtual seconds since the loop was made. `asyncio.to_thread` runs its function at once."""

    def __init__(self, luck: random.Random) -> None:
        super().__init__()
        self._luck = luck
        self._now_s = 0.0
        self._runnable: dict[Strand, None] = {}  # strands with callbacks, in order of their arrival
        self.tasks: list[asyncio.Task[Any]] = []
        """All tasks ever made, kept so that none is collected, and so cleaned up, in mid-schedule."""
        self.set_task_factory(self._make_task)
        self.outside = Strand(self, "outside")
        """Of no process: it is never stalled."""
        self.strands = [self.outside]

    def strand(self, name: str) -> Strand:
        self.strands.append(Strand(self, name))
        return self.strands[-1]

    def time(self) -> float:
        return self._now_s

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def _make_task(self, loop: Any, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **options)
        self.tasks.append(task)
        return task

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def _process_events(self, event_list: Any) -> None:
        """There is no selector that could have any."""

    def _run_once(self) -> None:
        self._sort_out()
        strand = self._draw()
        while strand is None:
            self._pass_time()
            self._sort_out()
            strand = self._draw()
        handle = strand.ready.popleft()
        if not strand.ready:
            del self._runnable[strand]
        if not handle.cancelled():
            handle._run()

    def _sort_out(self) -> None:
        """Give what has become ready to its strand."""
        while self._scheduled and self._scheduled[0].when() <= self._now_s:
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False
            self._ready.append(timer)
        while self._ready:
            handle = self._ready.popleft()
            strand = handle._context.get(_STRAND, self.outside)
            if not handle.cancelled():
                strand.ready.append(handle)
                self._runnable[strand] = None

    def _draw(self) -> Strand | None:
        able = [strand for strand in self._runnable if strand.stalled_until_s <= self._now_s]
        if not able:
            return None
        return able[0] if len(able) == 1 else self._luck.choice(able)

    def _pass_time(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)._scheduled = False
        moments_s = [strand.stalled_until_s for strand in self._runnable]
        if self._scheduled:
            moments_s.append(self._scheduled[0].when())
        if not moments_s or min(moments_s) == math.inf:
            raise NothingLeft(f"at {self._now_s:.3f} s")
        self._now_s = max(self._now_s, min(moments_s))
