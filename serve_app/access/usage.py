"""What tenants have used, day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from storage.domain.accounts import Account, Day
from storage.repositories.accounts import Accounts
from storage.stores.clock import Clock, utc_now

DEFAULT_DAYS = 30
MOST_DAYS = 366
FRESH_S = 60.0
"""A count of what is stored that is older is made anew for whoever asks."""


class UsageService:
    def __init__(self, accounts: Accounts, clock: Clock = utc_now) -> None:
        self._accounts = accounts
        self._clock = clock

    @property
    def now(self) -> datetime:
        return self._clock().astimezone(UTC)

    async def account(self, tenant: str) -> Account:
        """With what is stored as it was at most a minute ago. Raises StoreError."""
        account = await self._accounts.read(tenant)
        measured_at = account.measured_at
        if measured_at is None or (self._clock() - measured_at).total_seconds() >= FRESH_S:
            await self._accounts.measure(tenant)
            account = await self._accounts.read(tenant)
        return account

    async def days(self, tenant: str, first: date | None, last: date | None) -> dict[str, Day]:
        """From `first` to `last`, the last 30 days unless they say otherwise. Raises ValueError for more than a
        year, StoreError."""
        last = last or self.now.date()
        first = first or last - timedelta(days=DEFAULT_DAYS - 1)
        if (last - first).days >= MOST_DAYS:
            raise ValueError(f"at most {MOST_DAYS} days at once")
        return await self._accounts.days(tenant, first, last)

    async def tenants(self, after: str, limit: int) -> tuple[list[Account], str | None]:
        """All tenants by their names, from after one of them; and where to go on. Raises StoreError."""
        names = [name for name in await self._accounts.tenants() if name > after]
        shown = [await self._accounts.read(name) for name in names[:limit]]
        return shown, shown[-1].tenant if len(names) > limit else None
