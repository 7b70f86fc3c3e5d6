"""What runners foresee of their jobs, as far as they have told lately."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from deployments.events.bus import JobForeseen, WorkForeseen
from serve_app.http.fields import UNKNOWN, Outlook

GOOD_FOR_S = 5.0
"""Runners tell every second. What is older is from one that is gone, or the hub is: nothing is known then."""
NEWS_S, NEWS_SHARE = 1.0, 0.1
"""A time that moved by less than both, from where it was expected, is no news."""


@dataclass(frozen=True, slots=True)
class _Told:
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
        self._told: dict[str, dict[str, _Told]] = {}  # by runner, then by job
        self._shown: dict[str, _Told] = {}

    def take(self, notice: WorkForeseen) -> list[JobForeseen]:
        """Take in what a runner tells; returns what of it is news."""
        now_s = self._monotonic()
        self._told = {
            runner: told
            for runner, told in self._told.items()
            if any(now_s - each.at_s <= GOOD_FOR_S for each in told.values())
        }
        if notice.jobs:
            self._told[notice.runner] = {job.job_id: _Told(job, now_s) for job in notice.jobs}
        else:
            self._told.pop(notice.runner, None)
        known = {job_id for told in self._told.values() for job_id in told}
        self._shown = {job_id: shown for job_id, shown in self._shown.items() if job_id in known}
        news = [job for job in notice.jobs if self._is_news(job, now_s)]
        self._shown |= {job.job_id: _Told(job, now_s) for job in news}
        return news

    def of(self, job_id: str) -> Outlook:
        """What is foreseen of a job now."""
        now_s = self._monotonic()
        best = self._best(job_id, now_s)
        return UNKNOWN if best is None else best.outlook(now_s)

    def _best(self, job_id: str, now_s: float) -> _Told | None:
        """The word of the runner that works on it, else of the one where it is next first."""
        told = [
            each[job_id]
            for each in self._told.values()
            if job_id in each and now_s - each[job_id].at_s <= GOOD_FOR_S
        ]
        return min(told, key=lambda each: each.job.queue_position or 0, default=None)

    def _is_news(self, job: JobForeseen, now_s: float) -> bool:
        best = self._best(job.job_id, now_s)
        if best is None or best.job is not job:
            return False  # another runner knows better
        shown = self._shown.get(job.job_id)
        if shown is None or shown.job.queue_position != job.queue_position:
            return True
        expected = shown.outlook(now_s).eta_s
        if expected is None or job.eta_s is None:
            return expected is not job.eta_s
        return abs(job.eta_s - expected) > max(NEWS_S, NEWS_SHARE * expected)
