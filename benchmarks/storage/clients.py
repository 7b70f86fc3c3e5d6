"""Clients of a store, in a process of their own: `python -m benchmarks.storage.clients SETTINGS [careless]`.

SETTINGS is JSON; `careless` leaves the conditions of all writes out. Asked `{through, work, keys, file?, seconds |
times}` it has one client for each key do that work again and again, and answers `{began_s, ended_s, done}` by the
wall clock. Asked `{make: CHAINS}` it makes chains; asked `{count: CHAINS}` it says how many changes they have seen.

`through` is `Segue`, `loops` (Segue, each client with a loop of its own) or `boto3`: see `ways`.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.kit.child import answer_questions
from benchmarks.storage.implementations import TENANT, ByBoto3, ThroughSegue, Turns, Way
from configs.settings import StorageSettings
from storage.domain.model import Chain
from storage.repositories.chains import Chains
from storage.stores.object_store import Condition, ObjectStore
from storage.stores.opening import open_store
from tests.storage.domain.builders import chain_of, grow

NODES = 8


class Clients:
    def __init__(self, settings: StorageSettings, *, careless: bool) -> None:
        self._settings = settings
        self._store = open_store(settings)
        if careless:
            _ignore_conditions(self._store)
        self._chains = Chains(self._store)
        self._ways: dict[str, Way] = {}

    async def answer(self, question: dict[str, Any]) -> Any:
        match question:
            case {"make": chain_ids}:
                for chain_id in chain_ids:
                    await self._chains.create(new_chain(chain_id))
                return None
            case {"count": chain_ids}:
                versions = [(await self._chains.load(TENANT, chain_id)).version for chain_id in chain_ids]
                return sum(versions) - len(versions)
        way = self._way(question["through"])
        file = Path(question["file"]) if "file" in question else None
        began_s = time.time()
        done = await way.run(question["work"], question["keys"], file, _turns(question))
        return {"began_s": began_s, "ended_s": time.time(), "done": done}

    def _way(self, through: str) -> Way:
        if through not in self._ways:
            self._ways[through] = self._make_way(through)
        return self._ways[through]

    def _make_way(self, through: str) -> Way:
        match through:
            case "Segue":
                return ThroughSegue(self._store)
            case "loops":
                return ThroughSegue(self._store, own_loops=True)
            case "boto3":
                return ByBoto3(self._settings)
            case _:
                raise ValueError(f"no way is called {through!r}")

    async def close(self) -> None:
        await self._store.close()


def new_chain(chain_id: str) -> Chain:
    """A chain of `NODES` nodes, as if it were at its first version."""
    grown = grow(chain_of(), **{f"take-{index}": "root" for index in range(NODES - 1)})
    return replace(grown, id=chain_id, tenant=TENANT, version=1)


def _ignore_conditions(store: ObjectStore) -> None:
    put = store.put

    async def put_anyway(key: str, data: bytes, condition: Condition = None) -> str:
        return await put(key, data)

    store.put = put_anyway  # type: ignore[method-assign]


def _turns(question: dict[str, Any]) -> Turns:
    """For each client: so many times, or as often as it can until so many seconds have passed."""
    if "times" in question:
        return lambda: iter(range(question["times"]))
    until_s = time.monotonic() + question["seconds"]
    return lambda: itertools.takewhile(lambda _: time.monotonic() < until_s, itertools.count())


async def main(settings: StorageSettings, *, careless: bool) -> None:
    clients = Clients(settings, careless=careless)
    await answer_questions(clients.answer)
    await clients.close()


if __name__ == "__main__":
    asyncio.run(main(StorageSettings.model_validate_json(sys.argv[1]), careless="careless" in sys.argv[2:]))
