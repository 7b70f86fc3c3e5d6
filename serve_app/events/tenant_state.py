"""What a tenant has, as its clients follow it: every chain in short, every unfinished job, and when each changed.

"When" is a number that counts the changes that this process has seen. A client that holds the state at one number
needs only what changed after it, as upserts; where that is no longer known, it needs everything.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from serve_app.events.frames import ChainSummary
from storage.domain.jobs import Job

T = TypeVar("T")

REMEMBERED_ENDS = 512


@dataclass(frozen=True, slots=True)
class _At(Generic[T]):
    """A value, and the number of its last change."""

    value: T
    number: int


@dataclass(frozen=True, slots=True)
class TenantChanges:
    """In the order in which they happened; of each thing only its last state."""

    number: int
    chains: tuple[ChainSummary, ...]
    deleted: tuple[str, ...]
    jobs: tuple[Job, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.chains or self.deleted or self.jobs)


class TenantState:
    """`epoch` is drawn anew with every state: a number means something only beside its own."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)
        self.number = 0
        self._forgotten = 0  # ends up to this number are not remembered
        self._chains: dict[str, _At[ChainSummary]] = {}
        self._deleted: OrderedDict[str, _At[int]] = OrderedDict()  # by id the version that was the last
        self._jobs: dict[str, _At[Job]] = {}
        self._ended: OrderedDict[str, _At[Job]] = OrderedDict()

    @property
    def chains(self) -> list[ChainSummary]:
        """The newest first."""
        found = [kept.value for kept in self._chains.values()]
        return sorted(found, key=lambda chain: (chain.created_at, chain.id), reverse=True)

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The unfinished ones by id, the oldest first."""
        found = sorted((kept.value for kept in self._jobs.values()), key=lambda job: (job.created_at, job.id))
        return {job.id: job for job in found}

    def version_of(self, chain_id: str) -> int:
        """The version of a chain that is known; 0 for none."""
        known = self._chains.get(chain_id)
        return 0 if known is None else known.value.version

    def has_ended(self, job_id: str) -> bool:
        """Whether the job is remembered as one that has ended."""
        return job_id in self._ended

    def put_chain(self, chain: ChainSummary) -> None:
        """A chain as it is now; one that is no newer than the known one changes nothing."""
        dropped = self._deleted.get(chain.id)
        if chain.version <= self.version_of(chain.id) or (dropped and chain.version < dropped.value):
            return
        self._deleted.pop(chain.id, None)
        self._chains[chain.id] = _At(chain, self._next())

    def drop_chain(self, chain_id: str, version: int = 0) -> None:
        """The chain was deleted in this version (0: it is gone, or cannot be read any more)."""
        known = self._chains.pop(chain_id, None)
        if known is not None:
            self._deleted[chain_id] = _At(max(version, known.value.version), self._next())
            while len(self._deleted) > REMEMBERED_ENDS:
                self._forgotten = max(self._forgotten, self._deleted.popitem(last=False)[1].number)

    def put_job(self, job: Job) -> None:
        """A job as it is now. One that has ended stays so."""
        known = self._jobs.get(job.id)
        if job.id in self._ended or (known is not None and _looks_like(job, known.value)):
            return
        if not job.state.is_finished:
            self._jobs[job.id] = _At(job, self._next())
            return
        self._jobs.pop(job.id, None)
        self._ended[job.id] = _At(job, self._next())
        while len(self._ended) > REMEMBERED_ENDS:
            self._forgotten = max(self._forgotten, self._ended.popitem(last=False)[1].number)

    def since(self, number: int) -> TenantChanges | None:
        """What changed after `number`; None where that is not known any more, or never was."""
        if not self._forgotten <= number <= self.number:
            return None
        return TenantChanges(
            self.number,
            tuple(_after(self._chains, number)),
            tuple(chain_id for chain_id, at in self._deleted.items() if at.number > number),
            tuple(_after({**self._ended, **self._jobs}, number)),
        )

    def _next(self) -> int:
        self.number += 1
        return self.number


def _after(kept: Mapping[str, _At[T]], number: int) -> list[T]:
    return [at.value for at in sorted(kept.values(), key=lambda at: at.number) if at.number > number]


def _looks_like(job: Job, known: Job) -> bool:
    """Whether both look the same to a client, apart from the progress, which has frames of its own."""
    return all(
        getattr(job, name) == getattr(known, name)
        for name in ("state", "attempt", "fence", "cancel_requested", "stages", "error", "result")
    )
