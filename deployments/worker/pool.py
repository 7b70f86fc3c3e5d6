"""Places to work, apart for each kind of waiting: somebody waits at the screen for a take, nobody for a whole track
that is taken apart. In a pool tenants take turns, and none gets all places."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import StrEnum

from deployments.turns import Shares, Turns
from storage.domain.jobs import JobKind, Sign
from storage.repositories.jobs import JobKey

Entry = tuple[JobKey, Sign | None]
"""A job to be claimed, and the sign of life with which it may be taken over."""


class Lane(StrEnum):
    INTERACTIVE = "interactive"
    BULK = "bulk"


LANES: Mapping[JobKind, Lane] = {
    JobKind.GENERATE: Lane.INTERACTIVE,
    JobKind.STEMS: Lane.INTERACTIVE,
    JobKind.ANALYSIS: Lane.INTERACTIVE,
    JobKind.EXPORT: Lane.INTERACTIVE,
    JobKind.PROCESS: Lane.BULK,
}


def lane_of(key: JobKey) -> Lane:
    """Of a job of an unknown kind too, which may be one that somebody waits for."""
    return Lane.INTERACTIVE if key.kind is None else LANES[key.kind]


class Pool:
    """Jobs that wait for one of `places`. Belongs to the running loop."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._turns: Turns[Entry] = Turns()
        self._shares = Shares(places)
        self._changed = asyncio.Event()

    @property
    def waiting(self) -> int:
        return len(self._turns)

    def in_order(self) -> list[JobKey]:
        """What waits, as its turns would come if all places were free."""
        return [key for key, _ in self._turns.in_order()]

    def put(self, key: JobKey, stale: Sign | None) -> None:
        self._turns.append(key.tenant, (key, stale), key.weight)
        self._changed.set()

    async def take(self) -> Entry:
        """The next job, and a place for it, which `give_back` frees."""
        while True:
            for tenant in self._turns.owners():
                if self._shares.take(tenant):
                    return self._turns.take(tenant)
            self._changed.clear()
            await self._changed.wait()

    def give_back(self, key: JobKey) -> None:
        self._shares.give_back(key.tenant)
        self._changed.set()
