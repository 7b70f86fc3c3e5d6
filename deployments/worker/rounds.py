"""Which tenants a sweep looks at. To look at a tenant is a request to the store, and most tenants have no work."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

IDLE_TENANTS = 64
"""A sweep looks at this many tenants that had no unfinished jobs, at least."""

SWEEPS_PER_ROUND = 6
"""After so many sweeps each tenant has been looked at."""


class Rounds:
    """Tenants with unfinished jobs are looked at in every sweep, the others in turn."""

    def __init__(self) -> None:
        self._busy: set[str] = set()
        self._after = ""

    def found(self, tenant: str, *, is_busy: bool) -> None:
        """Keep what a look at the tenant, or a job pushed by it, showed."""
        (self._busy.add if is_busy else self._busy.discard)(tenant)

    def following(self, tenants: Sequence[str]) -> list[str]:
        """Those of `tenants` (sorted) that are to be looked at now; the next call continues after them."""
        busy = [tenant for tenant in tenants if tenant in self._busy]
        idle = [tenant for tenant in tenants if tenant not in self._busy]
        count = max(IDLE_TENANTS, ceil(len(idle) / SWEEPS_PER_ROUND))
        later = [tenant for tenant in idle if tenant > self._after]
        earlier = [tenant for tenant in idle if tenant <= self._after]
        chosen = [*later, *earlier][:count]
        self._after = chosen[-1] if chosen else ""
        return [*busy, *chosen]
