"""What one tenant uses and may use, as one value that is changed by compare-and-swap. Pure.

Today it holds the places of unfinished jobs. Whatever else a tenant may use only so much of belongs in here too, so
that one change reserves all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from storage.domain.model import DomainError


class NoRoom(DomainError):
    """The tenant has as many unfinished jobs as it may have. `unfinished` is how many, `most` how many it
    may have."""

    def __init__(self, unfinished: int, most: int) -> None:
        super().__init__(f"{unfinished} jobs are unfinished, and at most {most} may be")
        self.unfinished = unfinished
        self.most = most


@dataclass(frozen=True, slots=True)
class Account:
    """`unfinished` are the ids of the jobs that hold a place, oldest first."""

    tenant: str
    unfinished: tuple[str, ...] = ()


def reserve(account: Account, job_ids: Iterable[str], most: int, *, ended: Collection[str] = ()) -> Account:
    """With a place for each of the jobs, all or none; a job that has one keeps it. `ended` are jobs that
    hold a place
    and are known to have ended. Raises NoRoom.
    """
    held = tuple(job_id for job_id in account.unfinished if job_id not in ended)
    new = tuple(job_id for job_id in dict.fromkeys(job_ids) if job_id not in held)
    if new and len(held) + len(new) > most:
        raise NoRoom(len(held), most)
    if not new and held == account.unfinished:
        return account
    return replace(account, unfinished=(*held, *new))


def give_back(account: Account, job_ids: Collection[str]) -> Account:
    """Without the places of these jobs; again is the same."""
    held = tuple(job_id for job_id in account.unfinished if job_id not in job_ids)
    return account if held == account.unfinished else replace(account, unfinished=held)
