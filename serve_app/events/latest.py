"""The latest version of a chain, read once for all who ask at the same moment.

A hundred subscribers of one chain are woken by a change together; one of them reads it, the others take that.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from storage.domain.model import Chain, ChainNotFound
from storage.repositories.chains import Chains

KEPT_CHAINS = 256


@dataclass
class _Seen:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    chain: Chain | None = None
    read_at_s: float = float("-inf")


class LatestChains:
    def __init__(self, chains: Chains) -> None:
        self._chains = chains
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()

    async def get(self, tenant: str, chain_id: str, *, version: int = 0, max_age_s: float = 0.0) -> Chain:
        """The chain, a tombstone too: one read no longer than `max_age_s` ago, or of at least `version`
        where that is given. Raises ChainNotFound."""
        seen = self._entry((tenant, chain_id))
        asked_at_s = time.monotonic()
        async with seen.lock:
            known = seen.chain
            if known is not None and (
                (version and known.version >= version) or asked_at_s - seen.read_at_s <= max_age_s
            ):
                return known
            read_at_s = time.monotonic()
            chain = await self._chains.find(tenant, chain_id)
            if chain is None:
                raise ChainNotFound(chain_id)
            seen.chain, seen.read_at_s = chain, read_at_s
            return chain

    def _entry(self, key: tuple[str, str]) -> _Seen:
        seen = self._seen.setdefault(key, _Seen())
        self._seen.move_to_end(key)
        while len(self._seen) > KEPT_CHAINS:
            self._seen.popitem(last=False)
        return seen
