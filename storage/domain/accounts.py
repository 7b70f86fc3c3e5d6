"""What one tenant uses and may use, as one value that is changed by compare-and-swap. Pure.

Work is reserved before it begins and settled when it ends: `reserve` holds what it may need, all of it or nothing,
and `settle` puts what it really took in that place. So a limit holds whatever other requests do meanwhile, and what
is held comes back however the work ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime
from enum import StrEnum

from storage.domain.model import DomainError


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much of everything that is limited: of a piece of work, of a day, of all that is held."""

    jobs: int = 0
    gpu_s: float = 0.0
    audio_s: float = 0.0
    stored_bytes: int = 0
    upload_bytes: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


NOTHING = Amounts()


class Limit(StrEnum):
    """What may be limited. The values are the names of the fields of `Limits`."""

    UNFINISHED_JOBS = "unfinished_jobs"
    GPU_S = "gpu_s_per_day"
    AUDIO_S = "audio_s_per_day"
    STORED_BYTES = "stored_bytes"
    UPLOAD_BYTES = "upload_bytes_per_day"

    @property
    def is_daily(self) -> bool:
        return self in (Limit.GPU_S, Limit.AUDIO_S, Limit.UPLOAD_BYTES)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most of each that a tenant may use; None: as much as it likes. Days are UTC's."""

    unfinished_jobs: int | None = None
    gpu_s_per_day: float | None = None
    audio_s_per_day: float | None = None
    stored_bytes: int | None = None
    upload_bytes_per_day: int | None = None


class NoRoom(DomainError):
    """`wanted` more of something would be over its limit: `used` of `most` are used or held."""

    def __init__(self, limit: Limit, used: float, most: float, wanted: float) -> None:
        super().__init__(_SENTENCES[limit].format(used=_figure(used), most=_figure(most)))
        self.limit = limit
        self.used = used
        self.most = most
        self.wanted = wanted

    @property
    def is_for_good(self) -> bool:
        """True where it would be too much on any day. Jobs end: too many of them is a matter of time."""
        return self.limit is not Limit.UNFINISHED_JOBS and self.wanted > self.most


_SENTENCES = {
    Limit.UNFINISHED_JOBS: "{used} jobs are unfinished, and at most {most} may be",
    Limit.GPU_S: "{used} s of model time are used or asked for today, and at most {most} s may be",
    Limit.AUDIO_S: "{used} s of audio are made or asked for today, and at most {most} s may be",
    Limit.STORED_BYTES: "{used} bytes are stored or asked for, and at most {most} may be",
    Limit.UPLOAD_BYTES: "{used} bytes are uploaded today, and at most {most} may be",
}


def _figure(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


@dataclass(frozen=True, slots=True)
class Held:
    """What a piece of work of some kind may still need. Work without a job record holds it `until` a time at most:
    nothing else would show that its process has died."""

    kind: str
    amounts: Amounts = Amounts(jobs=1)
    until: datetime | None = None


Day = Mapping[str, Amounts]
"""What was used in one day, by the kind of work."""


@dataclass(frozen=True, slots=True)
class Account:
    """`held` is by the work's id, the oldest first; `days` by their dates, ISO 8601, the recent ones only.
    `stored_bytes` is what is in the store; `measured_at` is when that was last counted there."""

    tenant: str
    held: Mapping[str, Held] = field(default_factory=dict)
    days: Mapping[str, Day] = field(default_factory=dict)
    stored_bytes: int = 0
    settled: int = 0
    measured_at: datetime | None = None

    @property
    def unfinished(self) -> tuple[str, ...]:
        return tuple(self.held)

    def reserved(self) -> Amounts:
        return sum((held.amounts for held in self.held.values()), NOTHING)

    def used_on(self, day: date) -> Amounts:
        return sum(self.days.get(day.isoformat(), {}).values(), NOTHING)


def reserve(
    account: Account,
    wanted: Mapping[str, Held],
    limits: Limits,
    now: datetime,
    *,
    ended: Mapping[str, Amounts] | None = None,
) -> Account:
    """With all that is wanted held, or nothing; what is held already stays as it is. `ended` is work that holds
    something and is known to have ended, with what it took. Raises NoRoom.
    """
    account = without_expired(settle(account, ended or {}, now), now)
    new = {work: held for work, held in wanted.items() if work not in account.held}
    if not new:
        return account
    require_room(account, sum((held.amounts for held in new.values()), NOTHING), limits, now)
    return replace(account, held={**account.held, **new})


def require_room(account: Account, wanted: Amounts, limits: Limits, now: datetime) -> None:
    """Raises NoRoom where so much more would be over a limit. What asks for none of something needs no room."""
    reserved, today = account.reserved(), account.used_on(now.astimezone(UTC).date())
    for limit, used, more in (
        (Limit.UNFINISHED_JOBS, reserved.jobs, wanted.jobs),
        (Limit.GPU_S, today.gpu_s + reserved.gpu_s, wanted.gpu_s),
        (Limit.AUDIO_S, today.audio_s + reserved.audio_s, wanted.audio_s),
        (Limit.STORED_BYTES, account.stored_bytes + reserved.stored_bytes, wanted.stored_bytes),
        (Limit.UPLOAD_BYTES, today.upload_bytes + reserved.upload_bytes, wanted.upload_bytes),
    ):
        most: float | None = getattr(limits, limit.value)
        if most is not None and more > 0 and used + more > most:
            raise NoRoom(limit, used, most, more)


def settle(account: Account, ended: Mapping[str, Amounts], now: datetime) -> Account:
    """With what ended work took in the place of what it held. Work that holds nothing (any more) changes nothing:
    again is the same."""
    known = {work: amounts for work, amounts in ended.items() if work in account.held}
    if not known:
        return account
    today = now.astimezone(UTC).date().isoformat()
    day = dict(account.days.get(today, {}))
    for work, amounts in known.items():
        kind = account.held[work].kind
        day[kind] = day.get(kind, NOTHING) + amounts
    return replace(
        account,
        held={work: held for work, held in account.held.items() if work not in known},
        days={**account.days, today: day},
        stored_bytes=account.stored_bytes + sum(amounts.stored_bytes for amounts in known.values()),
        settled=account.settled + 1,
    )


def without_expired(account: Account, now: datetime) -> Account:
    """Without what is held longer than it may be."""
    kept = {work: held for work, held in account.held.items() if held.until is None or held.until > now}
    return account if len(kept) == len(account.held) else replace(account, held=kept)


def measured(account: Account, stored_bytes: int, seen: Account, now: datetime) -> Account:
    """With the size of all that is stored, as it was counted after the account was `seen`. Where work was settled
    meanwhile, nobody knows whether its bytes are in the count: then it stays as it is."""
    if account.settled != seen.settled:
        return account
    return replace(account, stored_bytes=stored_bytes, measured_at=now)


def without_days(account: Account, days: Collection[str]) -> Account:
    """Without the usage of these days, which is kept elsewhere."""
    kept = {day: used for day, used in account.days.items() if day not in days}
    return account if len(kept) == len(account.days) else replace(account, days=kept)


def jobs_of(ids: Iterable[str], kind: str = "") -> dict[str, Held]:
    """One place for each job, and nothing else."""
    return {job_id: Held(kind) for job_id in ids}
