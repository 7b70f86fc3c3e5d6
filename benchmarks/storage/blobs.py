"""Small and large objects into a store and out of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kit.tables import Table
from benchmarks.storage.client_processes import Crew
from benchmarks.storage.side_by_side import SEGUE, Rates, in_turns

CLIENTS = 16


@dataclass(frozen=True, slots=True)
class Size:
    name: str
    size_bytes: int


SMALL, LARGE = Size("4 KiB", 4096), Size("20 MB", 20_000_000)


@dataclass(frozen=True, slots=True)
class Case:
    size: Size
    work: str
    clients: int

    @property
    def keys(self) -> tuple[str, ...]:
        """An object for each client; what is read is what was put before."""
        return tuple(f"blobs/{self.size.size_bytes}-{client}" for client in range(self.clients))


CASES = (
    *(Case(SMALL, work, clients) for work in ("put", "get") for clients in (1, CLIENTS)),
    *(Case(LARGE, work, 1) for work in ("put", "put file", "get")),
)


def measure(crews: Sequence[Crew], folder: Path, rounds: int, seconds: float, large_times: int) -> Table:
    """Everything once in each round. `folder` is for the files that are put."""
    rates = Rates()
    files = {size: _file(folder, size) for size in (SMALL, LARGE)}
    for number in range(rounds + 1):
        for case in CASES:
            how_long = {"seconds": seconds} if case.size is SMALL else {"times": large_times}
            for crew in crews:
                for way in in_turns(crew.place, number):
                    ran = crew.run(way, case.work, case.keys, files[case.size], **how_long)
                    if number:  # the first is for warming up
                        rates.add(crew.place, case, way, ran.per_s)
    return Table(
        "objects",
        "Objects in and out",
        f"Objects of 4 KiB as often as possible in {seconds:g} s, of 20 MB {large_times} times; median of "
        f"{rounds} rounds, all clients together. `boto3` is PutObject, upload_file (in parts as large as "
        "Segue's) and GetObject in the same run, in turns; `of boto3` the median of the rounds' own quotients.",
        [
            {
                "store": crew.place.name,
                "object": case.size.name,
                "work": case.work,
                "clients": case.clients,
                **rates.columns(crew.place, case, "objects"),
                "Segue: MB/s": rates.median(crew.place, case, SEGUE) * case.size.size_bytes / 1e6,
            }
            for crew in crews
            for case in CASES
        ],
    )


def _file(folder: Path, size: Size) -> Path:
    """What compresses as badly as audio."""
    file = folder / f"{size.size_bytes}"
    file.write_bytes(os.urandom(size.size_bytes))
    return file
