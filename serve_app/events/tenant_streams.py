"""The event stream of a whole tenant: its chains, its jobs, and, if a client wants, the nodes of one open chain.

Frames are upserts: a client gets the last state of each thing, never a history. The last frame of each batch has an
id; a client that resumes from it gets what it lacks where this process still knows that, else everything.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from configs.settings import EventSettings
from serve_app.chains.schemas import chain_view
from serve_app.events.frames import (
    Event,
    TenantSnapshot,
    chain_summary,
    node_events,
    progress_event,
)
from serve_app.events.latest import LatestChains
from serve_app.events.listener import Listener
from serve_app.events.streams import RECONNECT_MS
from serve_app.events.tenant_state import TenantChanges, TenantState
from serve_app.events.tenant_watch import TenantWatch, TenantWatches
from serve_app.http.sse import comment, frame, retry
from serve_app.jobs.schemas import job_view
from storage.domain.events import changes_since
from storage.domain.model import Chain, ChainNotFound
from storage.stores.object_store import StoreError

BATCH_PAUSE_S = 0.05
"""What happens within it comes in one batch."""
STORE_PAUSE_S = 0.5

_PLACE = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})-([0-9]{1,15})(?:-([A-Za-z0-9_-]{1,200}))?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client is: the number of a state, and the version of the chain that it had open."""

    epoch: str
    number: int
    version: int = 0
    chain_id: str | None = None

    def __str__(self) -> str:
        start = f"{self.epoch}-{self.number}-{self.version}"
        return start if self.chain_id is None else f"{start}-{self.chain_id}"

    @staticmethod
    def parse(text: str) -> Place | None:
        """None for what is no place."""
        found = _PLACE.fullmatch(text)
        return Place(found[1], int(found[2]), int(found[3]), found[4]) if found else None


class TenantStreams:
    def __init__(
        self, watches: TenantWatches, latest: LatestChains, listener: Listener, settings: EventSettings
    ) -> None:
        self._watches = watches
        self._latest = latest
        self._listener = listener
        self._settings = settings

    async def stream(self, tenant: str, chain_id: str | None, after: Place | None) -> AsyncIterator[bytes]:
        """Frames from `after` on. Raises ChainNotFound for an open chain that is not there, and StoreError, before
        the first one only."""
        async with self._watches.following(tenant) as watch:
            await watch.fresh()
            chain = None if chain_id is None else await self._open(watch, chain_id)
            yield retry(RECONNECT_MS)
            client = _Client(watch, self._listener, chain)
            for sent in client.beginning(after):
                yield sent
            ends_s = time.monotonic() + self._settings.max_stream_s
            beaten_s = time.monotonic()
            while (now_s := time.monotonic()) < ends_s:
                if now_s - beaten_s >= self._settings.heartbeat_s:
                    beaten_s = now_s
                    yield comment("heartbeat")
                if not client.lacks_something:
                    await watch.changed(min(ends_s, beaten_s + self._settings.heartbeat_s) - now_s)
                await asyncio.sleep(BATCH_PAUSE_S)
                for sent in client.news(await self._newer(watch, client)):
                    yield sent

    async def _open(self, watch: TenantWatch, chain_id: str) -> Chain:
        chain = await self._latest.get(watch.tenant, chain_id)
        if chain.deleted_at is not None:
            raise ChainNotFound(chain_id)
        return chain

    async def _newer(self, watch: TenantWatch, client: _Client) -> Chain | None:
        """The open chain where it is newer than the client's; None as long as the store does not answer."""
        if client.chain is None or not client.lacks_open_chain:
            return None
        try:
            version = watch.state.version_of(client.chain.id)
            return await self._latest.get(watch.tenant, client.chain.id, version=version)
        except (StoreError, ChainNotFound):
            await asyncio.sleep(STORE_PAUSE_S)
            return None


class _Client:
    """What one client holds: the state at a number, the open chain, and how much of the progress."""

    def __init__(self, watch: TenantWatch, listener: Listener, chain: Chain | None) -> None:
        self._watch = watch
        self._progress_of = listener.sight
        self._number = 0
        self._reports = watch.reports
        self.chain = chain

    @property
    def _state(self) -> TenantState:
        return self._watch.state

    @property
    def lacks_something(self) -> bool:
        held = (self._number, self._reports)
        return held != (self._state.number, self._watch.reports) or self.lacks_open_chain

    @property
    def lacks_open_chain(self) -> bool:
        return self.chain is not None and self._state.version_of(self.chain.id) > self.chain.version

    def beginning(self, after: Place | None) -> Iterator[bytes]:
        """What the client lacks at first, and the open chain."""
        changes = None
        if after is not None and after.epoch == self._state.epoch:
            changes = self._state.since(after.number)
        if changes is None:
            self._number = self._state.number
            first = [("snapshot", self._snapshot().model_dump())]
        else:
            first = self._events_of(changes)
        yield from self._batch([*first, *self._opened(after)])

    def news(self, newer: Chain | None) -> Iterator[bytes]:
        """What changed since. `newer` is the open chain where it has changed."""
        changes = self._state.since(self._number)
        if changes is None:  # more has ended since than is remembered
            yield from self.beginning(None)
            return
        nodes = list[Event]()
        if self.chain is not None and newer is not None and newer.deleted_at is None:
            nodes = self._changed_nodes(newer, self.chain.version)
            self.chain = newer
        if self.chain is not None and self.chain.id in changes.deleted:
            self.chain = None
        yield from self._batch([*nodes, *self._events_of(changes)])
        latest = self._watch.progress_since(self._reports)
        self._reports = self._watch.reports
        for notice in latest:
            yield frame("progress", progress_event(notice, self._progress_of))

    def _events_of(self, changes: TenantChanges) -> list[Event]:
        """The open chain comes with its nodes, or not yet."""
        self._number = changes.number
        opened = None if self.chain is None else self.chain.id
        return [
            *(("chain", chain.model_dump()) for chain in changes.chains if chain.id != opened),
            *(("chain_deleted", {"id": chain_id}) for chain_id in changes.deleted),
            *(("job", job_view(job, self._progress_of).model_dump()) for job in changes.jobs),
        ]

    def _opened(self, after: Place | None) -> list[Event]:
        """The open chain: what changed in it since the client had it open, or all of it."""
        chain = self.chain
        if chain is None:
            return []
        since = after.version if after is not None and after.chain_id == chain.id else None
        if changes_since(chain, since).snapshot:
            return [("open", chain_view(chain, self._progress_of).model_dump())]
        return self._changed_nodes(chain, since)

    def _changed_nodes(self, chain: Chain, since: int | None) -> list[Event]:
        """Then the chain in short, as the last of its change."""
        nodes = node_events(chain, since, self._progress_of)
        return [
            *((event, {"chain_id": chain.id, **data}) for event, data in nodes),
            ("chain", chain_summary(chain).model_dump()),
        ]

    def _batch(self, events: list[Event]) -> Iterator[bytes]:
        """The last frame has the id: a client that has received a part of the batch gets all of it again."""
        for position, (event, data) in enumerate(events, 1):
            yield frame(event, data, id=self._place if position == len(events) else None)

    def _snapshot(self) -> TenantSnapshot:
        return TenantSnapshot(
            chains=self._state.chains,
            jobs=[job_view(job, self._progress_of) for job in self._state.jobs.values()],
            damaged=sorted(self._watch.damaged),
            version=self._place,
        )

    @property
    def _place(self) -> str:
        if self.chain is None:
            return str(Place(self._state.epoch, self._number))
        return str(Place(self._state.epoch, self._number, self.chain.version, self.chain.id))
