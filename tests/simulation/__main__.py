"""`python -m tests.simulation SEED` tells one schedule; `SEED COUNT` plays many and names those that went wrong."""

from __future__ import annotations

import sys

from tests.simulation.invariants import violations
from tests.simulation.world import play


def main(first: int, count: int) -> int:
    wrong = 0
    for seed in range(first, first + count):
        story = play(seed)
        found = violations(story)
        wrong += bool(found)
        if count == 1:
            print(story.tell())
        for violation in found:
            print(f"seed {seed}: {violation}", flush=True)
    print(f"{count} schedules from seed {first}: {wrong} went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
