"""Seeds: 0..2^32-1. Take 0 uses the request's seed, take i a hash of (seed, i)."""

from __future__ import annotations

import hashlib

SEED_COUNT = 2**32


def seed_of_take(seed: int, take: int) -> int:
    """The seed of one take; generating with it and one take gives that take again."""
    if not 0 <= seed < SEED_COUNT:
        raise ValueError(f"seed must be 0..{SEED_COUNT - 1}, not {seed}")
    if take == 0:
        return seed
    digest = hashlib.sha256(f"{seed}:{take}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
