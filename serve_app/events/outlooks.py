"""The forecasts of runners for their jobs, as far as they are recent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from deployments.events.bus import JobForeseen, WorkForeseen
from serve_app.http.fields import UNKNOWN, Outlook

GOOD_FOR_S = 5.0
"""Runners report every second: an older report means that its runner, or the hub, is gone."""
NEWS_S, NEWS_SHARE = 1.0, 0.1
"""An end that moved by less than both, from where it was expected, is not worth a frame."""


@dataclass(frozen=True, slots=True)
class _Reported:
    job: JobForeseen
    at_s: float

    def outlook(self, now_s: float) -> Outlook:
        eta_s = self.job.eta_s
        left_s = None if eta_s is None else round(max(0.0, eta_s - (now_s - self.at_s)), 1)
        return Outlook(self.job.queue_position, left_s)


class Outlooks:
    """By job and runner: a job may wait in the queue of one runner while another works on it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._reported: dict[str, dict[str, _Reported]] = {}  # by runner, then by job
        self._shown: dict[str, _Reported] = {}

    def take(self, notice: WorkForeseen) -> list[JobForeseen]:
        """Take over a runner's report; returns the entries that clients should see."""
        now_s = self._monotonic()
        self._reported = {
            runner: entries
            for runner, entries in self._reported.items()
            if any(now_s - each.at_s <= GOOD_FOR_S for each in entries.values())
        }
        if notice.jobs:
            self._reported[notice.runner] = {job.job_id: _Reported(job, now_s) for job in notice.jobs}
        else:
            self._reported.pop(notice.runner, None)
        known = {job_id for entries in self._reported.values() for job_id in entries}
        self._shown = {job_id: shown for job_id, shown in self._shown.items() if job_id in known}
        news = [job for job in notice.jobs if self._is_news(job, now_s)]
        self._shown |= {job.job_id: _Reported(job, now_s) for job in news}
        return news

    def of(self, job_id: str) -> Outlook:
        """What is foreseen of a job now."""
        now_s = self._monotonic()
        best = self._best(job_id, now_s)
        return UNKNOWN if best is None else best.outlook(now_s)

    def _best(self, job_id: str, now_s: float) -> _Reported | None:
        """The entry of the runner that works on the job, else of the one whose queue reaches it first."""
        recent = [
            each[job_id]
            for each in self._reported.values()
            if job_id in each and now_s - each[job_id].at_s <= GOOD_FOR_S
        ]
        return min(recent, key=lambda each: each.job.queue_position or 0, default=None)

    def _is_news(self, job: JobForeseen, now_s: float) -> bool:
        best = self._best(job.job_id, now_s)
        if best is None or best.job is not job:
            return False  # another runner's entry counts
        shown = self._shown.get(job.job_id)
        if shown is None or shown.job.queue_position != job.queue_position:
            return True
        expected = shown.outlook(now_s).eta_s
        if expected is None or job.eta_s is None:
            return expected is not job.eta_s
        return abs(job.eta_s - expected) > max(NEWS_S, NEWS_SHARE * expected)
