"""Clients of one place in several processes, which begin together."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.kit.child import Child
from benchmarks.storage.stores import Place


@dataclass(frozen=True, slots=True)
class Ran:
    """How often the work was done by all clients, and how long they took together."""

    done: int
    wall_s: float

    @property
    def per_s(self) -> float:
        return self.done / self.wall_s


class Crew:
    """`careless`: no write has a condition."""

    def __init__(self, place: Place, processes: int, *, careless: bool = False) -> None:
        self.place = place
        arguments = (place.settings.model_dump_json(), *(["careless"] if careless else []))
        self._children = [
            Child("benchmarks.storage.clients", *arguments, **place.environment) for _ in range(processes)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.__exit__()

    def make_chains(self, chain_ids: Sequence[str]) -> None:
        self._children[0].ask(make=list(chain_ids))

    def count_changes(self, chain_ids: Sequence[str]) -> int:
        """How many changes those chains have seen since they were made."""
        count: int = self._children[0].ask(count=list(chain_ids))
        return count

    def run(
        self, through: str, work: str, keys: Sequence[str], file: Path | None = None, **how_long: float
    ) -> Ran:
        """One client for each key, the keys dealt out to the processes. See `storage_clients`."""
        count = min(len(keys), len(self._children))
        which_file = {"file": str(file)} if file is not None else {}
        hands = [list(keys[index::count]) for index in range(count)]

        def ask(child: Child, hand: list[str]) -> dict[str, Any]:
            answer: dict[str, Any] = child.ask(
                through=through, work=work, keys=hand, **which_file, **how_long
            )
            return answer

        with ThreadPoolExecutor(count) as threads:
            answers = list(threads.map(ask, self._children, hands))
        began_s = min(answer["began_s"] for answer in answers)
        ended_s = max(answer["ended_s"] for answer in answers)
        return Ran(sum(answer["done"] for answer in answers), ended_s - began_s)
