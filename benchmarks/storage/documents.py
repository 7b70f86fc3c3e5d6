"""Changes of chains by compare-and-swap: how many in a second, alone and in each other's way; none may be lost."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.kit.tables import Table
from benchmarks.storage.client_processes import Crew
from benchmarks.storage.clients import NODES, new_chain
from benchmarks.storage.implementations import TENANT
from benchmarks.storage.side_by_side import Rates, in_turns
from storage import paths
from storage.repositories.chains import Chains
from storage.stores.memory import MemoryStore

WRITERS, PROCESSES = 16, 4


@dataclass(frozen=True, slots=True)
class Case:
    writers: int
    chain_ids: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """A chain for each writer."""
        return tuple(self.chain_ids[index % len(self.chain_ids)] for index in range(self.writers))


CASES = (
    Case(1, ("alone",)),
    Case(WRITERS, ("shared",)),
    Case(WRITERS, tuple(f"own-{index}" for index in range(WRITERS))),
)


def measure(crews: Sequence[Crew], rounds: int, seconds: float) -> Table:
    """Everything once in each round."""
    rates, changes = Rates(), defaultdict[tuple[str, Case], int](int)
    for crew in crews:
        crew.make_chains([name for case in CASES for name in case.chain_ids])
    for number in range(rounds + 1):
        for case in CASES:
            for crew in crews:
                for way in in_turns(crew.place, number):
                    ran = crew.run(way, "change", case.keys, seconds=seconds)
                    if number:  # the first is for warming up
                        rates.add(crew.place, case, way, ran.per_s)
                    changes[crew.place.name, case] += ran.done
    return Table(
        "documents",
        "Changes of chains by compare-and-swap",
        f"Changes per second (median of {rounds} rounds of {seconds:g} s) of chains with {NODES} nodes, "
        f"{document_bytes()} bytes each, by all writers together; {WRITERS} writers are in {PROCESSES} "
        "processes. `boto3` is the same by boto3 alone in the same run, in turns: GetObject, JSON, PutObject "
        "with If-Match, again after a 412. `of boto3` is the median of the rounds' own quotients. `lost` is how "
        "many of the acknowledged changes, of both, the chains' versions do not show.",
        [
            {
                "store": crew.place.name,
                "writers": case.writers,
                "chains": len(case.chain_ids),
                **rates.columns(crew.place, case, "changes"),
                "changes": (made := changes[crew.place.name, case]),
                "lost": made - crew.count_changes(case.chain_ids),
            }
            for crew in crews
            for case in CASES
        ],
    )


def document_bytes() -> int:
    """The size of such a chain's document."""

    store = MemoryStore()

    async def measure_one() -> int:
        await Chains(store).create(new_chain("c"))
        return (await store.head(paths.chain(TENANT, "c"))).size_bytes

    return asyncio.run(measure_one())
