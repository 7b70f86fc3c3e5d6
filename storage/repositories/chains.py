"""Chains in the object store."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from storage import paths
from storage.domain import edits
from storage.domain.model import Chain, ChainFull, ChainNotFound
from storage.domain.records import chain_from_record, chain_to_record
from storage.repositories.pages import DamagedRecord, read_entries
from storage.repositories.time_index import Timeline
from storage.stores.clock import Clock, utc_now
from storage.stores.document import Codec, Document
from storage.stores.object_store import BadKey, ObjectNotFound, ObjectStore

CODEC: Codec[Chain] = Codec(encode=chain_to_record, decode=chain_from_record)


@dataclass(frozen=True, slots=True)
class ChainPage:
    """Chains, newest first; `cursor` continues the list, None at its end. `damaged` are listed and cannot be
    read."""

    chains: tuple[Chain, ...]
    cursor: str | None
    damaged: tuple[DamagedRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class ChainBounds:
    """What a chain may grow to by nodes that are added: `nodes` in all, `record_bytes` as JSON. What becomes of the
    nodes that are there is not bound: their work has to end."""

    nodes: int
    record_bytes: int

    def require_room(self, chain: Chain, more: int) -> None:
        """Raises ChainFull where `more` nodes are too many."""
        if len(chain.nodes) + more > self.nodes:
            raise ChainFull(f"{self.nodes} nodes")

    def check(self, before: Chain, after: Chain) -> None:
        """Raises ChainFull where nodes were added and the chain has become too large."""
        added = len(after.nodes) - len(before.nodes)
        if added <= 0:
            return
        self.require_room(before, added)
        if len(json.dumps(chain_to_record(after), separators=(",", ":"))) > self.record_bytes:
            raise ChainFull(f"a record of {self.record_bytes} bytes")


class Chains:
    """`on_change` is called with every chain that was changed, after it is durable, and perhaps with one that
    was not. `bounds` None: nodes that are added here were accepted elsewhere."""

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock = utc_now,
        on_change: Callable[[Chain], None] = lambda chain: None,
        bounds: ChainBounds | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_change = on_change
        self._bounds = bounds
        self._timeline = Timeline(store, "chains")

    async def create(self, chain: Chain) -> tuple[Chain, bool]:
        """Keep a new chain: (chain, True), or (the one of that id, perhaps deleted, False)."""
        await self._timeline.add(chain.tenant, chain.id, chain.created_at)
        return await self._document(chain.tenant, chain.id).create(chain)

    async def load(self, tenant: str, chain_id: str) -> Chain:
        """Raises ChainNotFound, for a deleted chain too."""
        chain = await self.find(tenant, chain_id)
        if chain is None or chain.deleted_at is not None:
            raise ChainNotFound(chain_id)
        return chain

    async def find(self, tenant: str, chain_id: str) -> Chain | None:
        """The chain, a tombstone too, or None. Raises DocumentCorrupt."""
        try:
            return await self._document(tenant, chain_id).load()
        except (ObjectNotFound, BadKey):
            return None

    async def stamps(self, tenant: str) -> dict[str, str]:
        """By id of every chain, tombstones and damaged ones too, a stamp that changes with each write. Reads no
        chain."""
        folder = paths.folder(tenant, "chains")
        return {
            info.key.removeprefix(folder).removesuffix(".json"): info.stamp
            async for info in self._store.list(folder)
        }

    async def change(self, tenant: str, chain_id: str, edit: Callable[[Chain, datetime], Chain]) -> Chain:
        """Change a chain by compare-and-swap; `edit` is pure and gets the time.

        Raises ChainNotFound, ChainFull, and what `edit` raises.
        """

        def bounded(chain: Chain) -> Chain:
            changed = edit(chain, self._clock())
            if self._bounds is not None:
                self._bounds.check(chain, changed)
            return changed

        try:
            chain = await self._document(tenant, chain_id).change(bounded)
        except (ObjectNotFound, BadKey) as error:
            raise ChainNotFound(chain_id) from error
        self._on_change(chain)
        return chain

    def require_room(self, chain: Chain, more: int) -> None:
        """Raises ChainFull where there is no room for `more` nodes."""
        if self._bounds is not None:
            self._bounds.require_room(chain, more)

    async def delete(self, tenant: str, chain_id: str) -> Chain:
        """Turn a chain into a tombstone; returns it. Raises ChainNotFound, ChainDeleted the second time."""
        chain = await self.change(tenant, chain_id, edits.delete)
        await self._timeline.remove(tenant, chain_id, chain.created_at)
        return chain

    async def delete_damaged(self, tenant: str, chain_id: str) -> Chain:
        """Put a tombstone in the place of a chain that cannot be read; returns it, or the chain that can be read.

        Raises ChainNotFound.
        """
        entries = await self._timeline.entries_of(tenant, chain_id)
        now = self._clock()
        created_at = paths.time_of_timeline_entry(entries[0]) if entries else now
        try:
            chain = await self._document(tenant, chain_id).replace_damaged(
                edits.tombstone(chain_id, tenant, created_at, now)
            )
        except (ObjectNotFound, BadKey) as error:
            raise ChainNotFound(chain_id) from error
        if chain.deleted_at is not None:
            for name in entries:
                await self._timeline.remove_entry(tenant, name)
            self._on_change(chain)
        return chain

    async def page(self, tenant: str, *, cursor: str | None = None, limit: int = 50) -> ChainPage:
        """Raises BadKey for a cursor that no page gave."""
        entries = await self._timeline.after(tenant, cursor, limit)
        found, damaged = await read_entries(entries, lambda chain_id: self.find(tenant, chain_id))
        chains = tuple(
            chain
            for entry, chain in found
            if chain.deleted_at is None and paths.timeline_entry(chain.created_at, chain.id) == entry.name
        )
        return ChainPage(chains, entries[-1].name if len(entries) == limit else None, damaged)

    def _document(self, tenant: str, chain_id: str) -> Document[Chain]:
        return Document(
            self._store,
            paths.chain(tenant, chain_id),
            CODEC,
            belongs=lambda chain: (chain.tenant, chain.id) == (tenant, chain_id),
        )
