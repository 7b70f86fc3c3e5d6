"""When work will be done, from how fast such work has been. Pure: times are seconds of one monotonic clock.

A job waits for two things: a place in its runner, and a lane of its model, which works on so many takes at once.
Running jobs end according to their own speeds; waiting ones then take places and lanes in their order. Whatever
depends on a speed that was never measured is unknown (None), as is everything that waits for it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

LEAST_PROGRESS = 0.02
"""Below this the speed of a job cannot be estimated."""
NEWEST_SHARE = 0.3
"""How much the latest job counts in the speed of its line."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a job needs. `line` names all jobs that wait for the same model; `work_s` is how many seconds of audio
    it is to make, None where that is no measure of it."""

    line: str
    work_s: float | None = None


@dataclass(frozen=True, slots=True)
class Underway:
    """A job that a runner has claimed. Its clock begins with the first progress: until then it may wait for its
    model."""

    task: Task
    progress: float = 0.0
    begun_s: float | None = None
    begun_at: float = 0.0

    def progressed(self, progress: float, now_s: float) -> Underway:
        if self.begun_s is None:
            return replace(self, progress=progress, begun_s=now_s, begun_at=progress)
        return replace(self, progress=max(self.progress, progress))

    def whole_s(self, now_s: float) -> float | None:
        """How long all of it takes at its own speed so far; None while that cannot be estimated."""
        made = self.progress - self.begun_at
        if self.begun_s is None or made < LEAST_PROGRESS or now_s <= self.begun_s:
            return None
        return (now_s - self.begun_s) / made


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one line: seconds for a second of audio in one lane, None before one was measured, and how many lanes were
    seen at work at once."""

    seconds: float | None = None
    lanes: int = 1

    def after(self, seconds: float) -> Pace:
        """With one more job measured."""
        if self.seconds is None:
            return replace(self, seconds=seconds)
        return replace(self, seconds=self.seconds + NEWEST_SHARE * (seconds - self.seconds))


@dataclass(frozen=True, slots=True)
class Outlook:
    """`queue_position` is 1 for the next one that a runner will take up, None for one that is running; `eta_s` is
    how long it is until the end, None where it is not known."""

    queue_position: int | None = None
    eta_s: float | None = None


def foresee(
    running: Sequence[Underway],
    waiting: Sequence[Task | None],
    paces: Mapping[str, Pace],
    places: int,
    now_s: float,
) -> tuple[list[Outlook], list[Outlook]]:
    """Of the running jobs, and of the waiting ones in their order; None is a job of which nothing is known yet.

    `places` is how many jobs the runner works on at once.
    """
    paces = {**paces, **_first_paces(running, paces, now_s)}
    ends: list[float | None] = [None] * len(running)
    lanes: dict[str, list[float]] = {}
    for index, job in enumerate(running):
        whole_s = job.whole_s(now_s)
        if whole_s is not None:
            ends[index] = (1.0 - job.progress) * whole_s
            lanes.setdefault(job.task.line, []).append(float(ends[index] or 0.0))
    for line in {task.line for task in (*(job.task for job in running), *waiting) if task is not None}:
        free = max(1, paces.get(line, Pace()).lanes) - len(lanes.setdefault(line, []))
        lanes[line] += [0.0] * max(0, free)
        heapq.heapify(lanes[line])
    for index, job in enumerate(running):
        if ends[index] is None:
            ends[index] = _in_lane(job.task, 0.0, lanes, paces)
    slots = [end if end is not None else math.inf for end in ends]
    slots += [0.0] * max(0, places - len(slots))
    heapq.heapify(slots)
    queued = []
    for position, task in enumerate(waiting, 1):
        start_s = heapq.heappop(slots)
        end_s = math.inf if task is None else _in_lane(task, start_s, lanes, paces)
        heapq.heappush(slots, end_s)
        queued.append(Outlook(position, _known(end_s)))
    return [Outlook(None, _known(end)) for end in ends], queued


def _in_lane(
    task: Task, start_s: float, lanes: Mapping[str, list[float]], paces: Mapping[str, Pace]
) -> float:
    """When a task is done that may begin at `start_s`: in the lane that is free first, which it takes."""
    free_s = heapq.heappop(lanes[task.line])
    seconds = paces.get(task.line, Pace()).seconds
    takes_s = math.inf if seconds is None or task.work_s is None else seconds * task.work_s
    end_s = max(start_s, free_s) + takes_s
    heapq.heappush(lanes[task.line], end_s)
    return end_s


def _first_paces(running: Sequence[Underway], paces: Mapping[str, Pace], now_s: float) -> Mapping[str, Pace]:
    """Of lines of which no job has ended yet: from those that are at work."""
    measured: dict[str, list[float]] = {}
    for job in running:
        whole_s = job.whole_s(now_s)
        if whole_s is not None and job.task.work_s and paces.get(job.task.line, Pace()).seconds is None:
            measured.setdefault(job.task.line, []).append(whole_s / job.task.work_s)
    return {
        line: replace(paces.get(line, Pace()), seconds=sum(found) / len(found))
        for line, found in measured.items()
    }


def _known(end_s: float | None) -> float | None:
    return end_s if end_s is not None and math.isfinite(end_s) else None
