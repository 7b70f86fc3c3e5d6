"""Writers in each other's way, and what they lose: `python -m benchmarks.storage.lost_updates STORE [--careless]`.

STORE is `memory`, `folder`, `ministack`, or `s3`: the server that the environment names, as in
`scripts/ceph-rgw run python -m benchmarks.storage.lost_updates s3`. Sixteen writers in four processes (in
memory: in one) change one chain as fast as they can; each change is one version more. Fails if one is
missing. `--careless` leaves the conditions of the writes out: a loss is seen then.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.storage.client_processes import Crew
from benchmarks.storage.documents import PROCESSES, WRITERS
from benchmarks.storage.stores import Kind, Place, place

CHAIN = "shared"


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.storage.lost_updates")
    parser.add_argument("store", type=Kind, choices=Kind)
    parser.add_argument("--times", type=int, default=50, help="how often each writer changes the chain")
    parser.add_argument("--careless", action="store_true", help="leave the conditions out")
    arguments = parser.parse_args()
    processes = 1 if arguments.store is Kind.MEMORY else PROCESSES
    with place(arguments.store) as where:
        made, found = count(where, processes, arguments.times, careless=arguments.careless)
    print(
        f"{where.name}: {WRITERS} writers in {processes} process{'es' if processes > 1 else ''}, "
        f"{made} changes acknowledged, {made - found} lost"
    )
    return 0 if found == made else 1


def count(where: Place, processes: int, times: int, *, careless: bool) -> tuple[int, int]:
    """How many changes were acknowledged, and how many the chain shows."""
    with Crew(where, processes, careless=careless) as crew:
        crew.make_chains([CHAIN])
        ran = crew.run("loops", "change", [CHAIN] * WRITERS, times=times)
        return ran.done, crew.count_changes([CHAIN])


if __name__ == "__main__":
    sys.exit(main())
