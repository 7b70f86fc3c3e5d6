"""Whose work a replica's time goes to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class SharedClock:
    """Divides the time of one engine between what runs in it: at each moment, each of n requests gets 1/n.

    All shares together are the time in which anything ran. `spent` takes a tenant and seconds, whenever something
    begins or ends and at each `settle`. For one event loop.
    """

    def __init__(
        self, spent: Callable[[str, float], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._spent = spent
        self._monotonic = monotonic
        self._running: Counter[str] = Counter()
        self._settled_s = monotonic()

    @contextmanager
    def running(self, tenant: str) -> Iterator[None]:
        self.begin(tenant)
        try:
            yield
        finally:
            self.end(tenant)

    def begin(self, tenant: str) -> None:
        self.settle()
        self._running[tenant] += 1

    def end(self, tenant: str) -> None:
        self.settle()
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]

    def settle(self) -> None:
        """Hand out the time since it was last done."""
        now_s = self._monotonic()
        elapsed_s, self._settled_s = now_s - self._settled_s, now_s
        running = self._running.total()
        for tenant, count in self._running.items():
            self._spent(tenant, elapsed_s * count / running)
