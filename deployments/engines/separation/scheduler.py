"""Segments on their way to the networks: one queue in which tracks take turns, and threads that work it off."""

from __future__ import annotations

import threading
import time
from bisect import insort
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from deployments.engines.common.errors import EngineBroken, EngineBusy, EngineError
from deployments.engines.separation.protocol import Estimates, SegmentRequest


@dataclass(frozen=True, slots=True)
class _Job:
    """`turn` is its place in the queue."""

    request: SegmentRequest
    answer: Future[Estimates]
    turn: int

    @property
    def kind(self) -> tuple[int, int]:
        """Jobs of one kind can go through a network together."""
        return self.request.part, self.request.samples.shape[1]


class Lanes:
    """`count` threads, each of which takes the segment whose turn it is, and up to `batch` - 1 further ones like
    it, and gives them to `separate`. A segment whose answer was cancelled is dropped.

    Tracks (requests of one id) take turns: the nth segment of one that waits goes before the n+1st of another. A
    track's own segments, and those of equal turns, go in the order in which they came.

    `prepare` is called once in each thread. `is_fatal` says which failures `separate` does not recover from.
    """

    def __init__(
        self,
        separate: Callable[[Sequence[SegmentRequest]], Sequence[Estimates]],
        *,
        count: int,
        batch: int,
        waiting: int,
        name: str,
        prepare: Callable[[], None],
        is_fatal: Callable[[Exception], bool],
    ) -> None:
        self._separate = separate
        self._batch = batch
        self._most_waiting = waiting
        self._prepare = prepare
        self._is_fatal = is_fatal
        self._jobs: list[_Job] = []
        self._turn = 0
        self._last_turns: dict[str, int] = {}
        self._changed = threading.Condition()
        self._is_closing = False
        self._failure: str | None = None
        self._busy_since_s: dict[int, float] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"{name} lane {lane}", daemon=True)
            for lane in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, request: SegmentRequest) -> Future[Estimates]:
        """Raises EngineBusy, EngineBroken."""
        answer: Future[Estimates] = Future()
        with self._changed:
            self._check_usable()
            if len(self._jobs) >= self._most_waiting:
                self._jobs = [job for job in self._jobs if not job.answer.cancelled()]
            if len(self._jobs) >= self._most_waiting:
                raise EngineBusy(f"{len(self._jobs)} segments are waiting already")
            turn = max(self._turn, self._last_turns.get(request.request_id, 0) + 1)
            self._last_turns[request.request_id] = turn
            insort(self._jobs, _Job(request, answer, turn), key=lambda job: job.turn)
            self._changed.notify()
        return answer

    def check(self, stuck_after_s: float) -> None:
        """Raises EngineBroken if the lanes are closed or broken, or one has been busy with a segment for longer
        than `stuck_after_s`."""
        with self._changed:
            self._check_usable()
            busy_since_s = min(self._busy_since_s.values(), default=None)
        if busy_since_s is not None and time.monotonic() - busy_since_s > stuck_after_s:
            raise EngineBroken(f"a segment has taken {time.monotonic() - busy_since_s:.0f} s so far")

    def close(self, timeout_s: float) -> None:
        """Refuses what waits, and waits for the segments that are being worked on."""
        with self._changed:
            self._is_closing = True
            refused, self._jobs = self._jobs, []
            self._changed.notify_all()
        for job in refused:
            if job.answer.set_running_or_notify_cancel():
                job.answer.set_exception(EngineBroken("the engine is closed"))
        give_up_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, give_up_s - time.monotonic()))

    def _check_usable(self) -> None:
        if self._is_closing:
            raise EngineBroken("the engine is closed")
        if self._failure is not None:
            raise EngineBroken(self._failure)

    def _run(self, lane: int) -> None:
        self._prepare()
        while jobs := self._next(lane):
            self._work_on(jobs)
            with self._changed:
                del self._busy_since_s[lane]

    def _next(self, lane: int) -> list[_Job]:
        """Waits. Nothing when the lanes close."""
        with self._changed:
            while True:
                jobs = self._pick()
                if jobs:
                    self._busy_since_s[lane] = time.monotonic()
                    return jobs
                if self._is_closing:
                    return []
                self._changed.wait()

    def _pick(self) -> list[_Job]:
        picked: list[_Job] = []
        others: list[_Job] = []
        for job in self._jobs:
            if len(picked) == self._batch or (picked and job.kind != picked[0].kind):
                others.append(job)
            elif job.answer.set_running_or_notify_cancel():
                picked.append(job)
        self._jobs = others
        if picked:
            self._turn = picked[0].turn
            self._last_turns = {track: turn for track, turn in self._last_turns.items() if turn >= self._turn}
        return picked

    def _work_on(self, jobs: list[_Job]) -> None:
        try:
            answers = self._separate([job.request for job in jobs])
        except EngineError as error:
            _fail(jobs, error)
        except Exception as error:
            message = f"a segment failed: {type(error).__name__}: {error}"
            if self._is_fatal(error):
                with self._changed:
                    self._failure = message
            _fail(jobs, EngineBroken(message))
        else:
            for job, answer in zip(jobs, answers, strict=True):
                job.answer.set_result(answer)


def _fail(jobs: list[_Job], error: EngineError) -> None:
    for job in jobs:
        job.answer.set_exception(error)
