"""What the caller may still use: refusals in HTTP's words, and what work without a job record holds meanwhile."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from configs.settings import Capability
from serve_app.access.callers import calling
from serve_app.access.guard import rate_headers
from serve_app.access.tiers import Tiers
from serve_app.http.problems import Forbidden, Problem, TooManyRequests
from storage.domain.accounts import NOTHING, Amounts, Held, Limit, Limits, NoRoom
from storage.repositories.accounts import Accounts
from storage.stores.clock import Clock, utc_now

logger = logging.getLogger("segue.access")

RETRY_AFTER_JOBS_S = 10.0
RETRY_AFTER_STORED_S = 3600.0
"""What was deleted leaves the store when the collector comes."""
LONGEST_WORK_S = 2 * 3600.0
"""What work without a record holds comes back by then, if its process has died."""

_HINTS = {
    Limit.STORED_BYTES: " Delete chains that you do not need; what was deleted counts for about a day.",
    Limit.GPU_S: " More is there tomorrow (UTC).",
    Limit.AUDIO_S: " More is there tomorrow (UTC).",
    Limit.UPLOAD_BYTES: " More is there tomorrow (UTC).",
}


class Quotas:
    """Of the caller of the request at hand."""

    def __init__(self, accounts: Accounts, tiers: Tiers, clock: Clock = utc_now) -> None:
        self.accounts = accounts
        self.tiers = tiers
        self._clock = clock

    @property
    def limits(self) -> Limits:
        return self.tiers.limits(calling().tier)

    def require(self, capability: Capability) -> None:
        """Raises Forbidden."""
        calling().require(capability, self.tiers.least_with(capability))

    async def require_room(self, tenant: str, wanted: Amounts) -> None:
        """A look that holds nothing. Raises TooManyRequests, Forbidden for what no day allows, StoreError."""
        try:
            await self.accounts.require_room(tenant, wanted, self.limits)
        except NoRoom as error:
            raise self.refusal(error) from error

    @asynccontextmanager
    async def uploading(self, declared_bytes: int, most_bytes: int) -> AsyncIterator[Usage]:
        """Hold room for an upload of the declared length (0: it has none, and may be `most_bytes`) before it is
        read. Raises as `require_room`."""
        size_bytes = min(declared_bytes or most_bytes, most_bytes)
        async with self.holding("upload", Amounts(upload_bytes=size_bytes)) as usage:
            yield usage

    @asynccontextmanager
    async def holding(self, kind: str, wanted: Amounts) -> AsyncIterator[Usage]:
        """Hold what a piece of work without a job may need, while it lasts; what it took is settled at its end,
        however it ends. Where nothing is limited or kept, nothing is written.

        Raises as `require_room`.
        """
        usage = Usage(self, f"{kind}-{secrets.token_hex(8)}", kind)
        if calling().tier is not None:
            await usage.hold(wanted)
        try:
            yield usage
        finally:
            await usage.end()

    def refusal(self, error: NoRoom) -> Problem:
        """429 with how long to wait, or 403 for what would be too much on any day."""
        members = {"limit": error.limit.value, "used": error.used, "most": error.most}
        sentence = f"{error}."
        if error.is_for_good:
            tier = calling().tier
            of_tier = f" of the tier {tier.name!r}" if tier is not None else ""
            return Forbidden(
                f"This alone would be over the limit{of_tier}: {error.wanted:g} of {error.most:g}.",
                code="limit",
                members=members,
            )
        retry_after_s = self._retry_after_s(error.limit)
        return TooManyRequests(
            sentence + _HINTS.get(error.limit, ""),
            retry_after_s=retry_after_s,
            code="limit",
            headers=rate_headers(error.most, error.most - error.used, retry_after_s),
            members=members,
        )

    def _retry_after_s(self, limit: Limit) -> float:
        if limit.is_daily:
            return _until_tomorrow_s(self._clock())
        return RETRY_AFTER_STORED_S if limit is Limit.STORED_BYTES else RETRY_AFTER_JOBS_S

    async def _hold(self, work: str, kind: str, wanted: Amounts) -> None:
        until = self._clock() + timedelta(seconds=LONGEST_WORK_S)
        try:
            await self.accounts.reserve(calling().tenant, {work: Held(kind, wanted, until)}, self.limits)
        except NoRoom as error:
            raise self.refusal(error) from error


class Usage:
    """What one piece of work holds and took. `taken` is what it has taken so far."""

    def __init__(self, quotas: Quotas, work: str, kind: str) -> None:
        self._quotas = quotas
        self._tenant = calling().tenant
        self._work = work
        self._kind = kind
        self._held: list[str] = []
        self.taken = NOTHING

    async def hold(self, wanted: Amounts) -> None:
        """Hold so much more. Raises as `Quotas.require_room`."""
        if calling().tier is None:
            return
        part = f"{self._work}-{len(self._held)}"
        await self._quotas._hold(part, self._kind, wanted)
        self._held.append(part)

    def take(self, amounts: Amounts) -> None:
        self.taken = self.taken + amounts

    async def end(self) -> None:
        """Settle what was held. What fails here comes back by itself later."""
        if not self._held:
            return
        first, *others = self._held
        ended = {first: self.taken, **dict.fromkeys(others, NOTHING)}
        await self._quotas.accounts.settle(self._tenant, ended)


def _until_tomorrow_s(now: datetime) -> float:
    utc = now.astimezone(UTC)
    midnight = (utc + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - utc).total_seconds()
