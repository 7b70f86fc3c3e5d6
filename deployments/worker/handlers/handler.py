"""What each kind of job does under a claim. The worker owns claims, beats and ends; a handler owns the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from storage.domain.jobs import Job
from storage.domain.model import Failure
from storage.domain.outcomes import Outcome

Progress = Callable[[float], None]


class JobHandler(Protocol):
    async def open(self, job: Job) -> Outcome | None:
        """The first step under a claim; an outcome if there is nothing left to do.

        Also finishes what the process that accepted the job may have left half done. Raises Fenced.
        """
        ...

    async def decided(self, job: Job) -> Outcome | None:
        """An outcome that came from elsewhere meanwhile, a cancellation above all."""
        ...

    async def run(self, job: Job, on_progress: Progress) -> Outcome:
        """The work, up to and including its commit point. Raises Fenced."""
        ...

    async def fail(self, job: Job, failure: Failure) -> Outcome:
        """Make a failure known where this kind of job publishes. Raises Fenced."""
        ...

    async def clean_up(self, job: Job) -> None:
        """Remove what nobody needs after the job's end. What this leaves, the collector removes later."""
        ...
