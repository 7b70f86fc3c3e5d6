"""Chains of many nodes: what a change of one costs, and how large a chain may become."""

from __future__ import annotations

import cProfile
import json
import pstats
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from storage import paths
from storage.domain import crops, decisions, edits, history
from storage.domain.decisions import Marks
from storage.domain.model import Chain, ChainFull, NodeStatus
from storage.domain.records import chain_from_record, chain_to_record
from storage.repositories.chains import ChainBounds, Chains
from storage.stores.memory import MemoryStore
from storage.stores.object_store import Condition, StoredObject
from tests.storage.domain.builders import NOW, chain_of, make_ready, part_of, pending

THOUSAND = 1000
BYTES_PER_NODE = 1024


class CountedStore(MemoryStore):
    """Keeps count of requests, and of the bytes that they carry."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    async def get(self, key: str) -> StoredObject:
        found = await super().get(key)
        self.requests["get"] += 1
        self.bytes["get"] += len(found.data)
        return found

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        self.requests["put"] += 1
        self.bytes["put"] += len(data)
        return await super().put(key, data, condition)


def tree_of(size: int) -> Chain:
    """A binary tree of ready nodes: `n0` below the root, then two below each."""
    parents = ["root", *(f"n{(number - 1) // 2}" for number in range(1, size - 1))]
    chain = chain_of()
    pile = [pending(f"n{number}", parent) for number, parent in enumerate(parents)]
    ready = make_ready(edits.add_nodes(chain, pile[:1], NOW), "n0").node("n0")
    made = [replace(ready, id=node.id, parent_id=node.parent_id, job_id=node.job_id) for node in pile]
    return replace(chain, nodes=(*chain.nodes, *made))


async def test_a_change_of_one_node_of_a_thousand_is_one_read_and_one_write() -> None:
    store = CountedStore()
    chains = Chains(store, clock=lambda: NOW, bounds=ChainBounds(2000, 8 * 1024**2))
    await chains.create(tree_of(THOUSAND))
    store.requests.clear()
    store.bytes.clear()
    await chains.change("t", "c", lambda chain, now: decisions.mark(chain, "n500", Marks(stars=4), now))
    await chains.change("t", "c", lambda chain, now: edits.add_nodes(chain, [pending("x", "n998")], now))
    assert store.requests == {"get": 2, "put": 2}
    assert store.bytes["put"] <= 2 * THOUSAND * BYTES_PER_NODE


@pytest.mark.parametrize(
    "work",
    [
        lambda chain: chain_from_record(json.loads(json.dumps(chain_to_record(chain)))),
        lambda chain: decisions.mark(chain, "n50", Marks(note="again"), NOW),
        lambda chain: decisions.discard(chain, "n0", NOW),
        lambda chain: history.next_undo(decisions.discard(chain, "n0", NOW)),
        lambda chain: history.undo(decisions.discard(chain, "n0", NOW), NOW),
    ],
    ids=["record", "mark", "discard", "shown-undo", "undo"],
)
def test_what_a_change_costs_grows_with_the_nodes_and_not_with_their_square(
    work: Callable[[Chain], object],
) -> None:
    few, many = (_calls(work, tree_of(size)) for size in (200, 800))
    assert many < 6 * few


def _calls(work: Callable[[Chain], object], chain: Chain) -> int:
    """How many functions are called: a measure that a busy machine does not change."""
    profile = cProfile.Profile()
    profile.runcall(work, chain)
    calls: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return calls


async def test_nodes_are_added_up_to_the_bounds_and_what_is_there_can_always_change() -> None:
    store = MemoryStore()
    chains = Chains(store, clock=lambda: NOW, bounds=ChainBounds(nodes=3, record_bytes=8 * 1024**2))
    await chains.create(chain_of())
    two = [pending("a", "root"), pending("b", "root")]
    await chains.change("t", "c", lambda chain, now: edits.add_nodes(chain, two, now))
    before = await store.get(paths.chain("t", "c"))
    with pytest.raises(ChainFull, match="3 nodes"):
        await chains.change("t", "c", lambda chain, now: edits.add_nodes(chain, [pending("d", "root")], now))
    with pytest.raises(ChainFull):
        await chains.change(
            "t", "c", lambda chain, now: crops.crop(chain, part_of(chain.node("root"), "crop", 0, 4000), now)
        )
    assert await store.get(paths.chain("t", "c")) == before
    again = await chains.change("t", "c", lambda chain, now: edits.add_nodes(chain, two, now))
    ready = await chains.change("t", "c", lambda chain, now: make_ready(chain, "a"))
    assert len(again.nodes) == 3
    assert ready.node("a").status is NodeStatus.READY
    chains.require_room(ready, 0)
    with pytest.raises(ChainFull):
        chains.require_room(ready, 1)


async def test_a_record_that_is_too_large_takes_no_more_nodes() -> None:
    chains = Chains(MemoryStore(), clock=lambda: NOW, bounds=ChainBounds(nodes=100, record_bytes=3000))
    await chains.create(chain_of())
    first = await chains.change(
        "t", "c", lambda chain, now: edits.add_nodes(chain, [pending("a", "root")], now)
    )
    assert first.find("a") is not None
    noted = await chains.change(
        "t", "c", lambda chain, now: decisions.mark(chain, "a", Marks(note="long " * 500), now)
    )
    assert noted.node("a").note is not None
    with pytest.raises(ChainFull, match="3000 bytes"):
        await chains.change("t", "c", lambda chain, now: edits.add_nodes(chain, [pending("b", "root")], now))
