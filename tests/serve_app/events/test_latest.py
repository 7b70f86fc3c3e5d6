"""One read serves all who ask at the same moment, and nobody gets an older chain than they asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from serve_app.events.latest import KEPT_CHAINS, LatestChains
from storage.domain.model import Chain, ChainNotFound
from storage.repositories.chains import Chains
from storage.stores.memory import MemoryStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class CountedChains(Chains):
    """A store of chains that counts how often it is read."""

    def __init__(self, *chains: Chain) -> None:
        super().__init__(MemoryStore())
        self.now = {chain.id: chain for chain in chains}
        self.reads = 0

    async def find(self, tenant: str, chain_id: str) -> Chain | None:
        self.reads += 1
        await asyncio.sleep(0.01)
        return self.now.get(chain_id)


def chain(chain_id: str = "c", version: int = 1) -> Chain:
    return Chain(chain_id, "t", "", version, NOW, NOW, "root", ())


async def test_those_who_hear_of_the_same_change_share_one_read() -> None:
    chains = CountedChains(chain(version=3))
    latest = LatestChains(chains)
    got = await asyncio.gather(*(latest.get("t", "c", version=3) for _ in range(50)))
    assert {found.version for found in got} == {3}
    assert chains.reads == 1


async def test_a_newer_version_is_read_and_an_older_one_is_there() -> None:
    chains = CountedChains(chain(version=3))
    latest = LatestChains(chains)
    await latest.get("t", "c", version=3)
    chains.now["c"] = replace(chains.now["c"], version=4)
    assert (await latest.get("t", "c", version=2)).version == 3
    assert (await latest.get("t", "c", version=4)).version == 4
    assert chains.reads == 2


async def test_an_age_bounds_how_old_the_answer_is() -> None:
    chains = CountedChains(chain())
    latest = LatestChains(chains)
    await latest.get("t", "c")
    chains.now["c"] = replace(chains.now["c"], version=2)
    assert (await latest.get("t", "c", max_age_s=60)).version == 1
    assert (await latest.get("t", "c", max_age_s=0)).version == 2


async def test_an_unknown_chain_is_not_found_and_memory_is_bounded() -> None:
    chains = CountedChains(*(chain(f"c{n}") for n in range(KEPT_CHAINS + 1)))
    latest = LatestChains(chains)
    with pytest.raises(ChainNotFound):
        await latest.get("t", "nothing")
    await asyncio.gather(*(latest.get("t", f"c{n}", version=1) for n in range(KEPT_CHAINS + 1)))
    reads = chains.reads
    await latest.get("t", f"c{KEPT_CHAINS}", version=1)
    assert chains.reads == reads
    await latest.get("t", "c0", version=1)
    assert chains.reads == reads + 1
