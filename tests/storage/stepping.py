"""Coroutines stepped by hand, so that a test (or hypothesis) chooses every interleaving. No event loop runs:
what is stepped may only wait by `asyncio.sleep(0)`, as `MemoryStore` does before each operation."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any


def interleave(clients: Sequence[Coroutine[Any, Any, None]], schedule: Iterable[int]) -> None:
    """Step the client that `schedule` names (modulo those still running) until it ends, then run the rest."""
    running = list(clients)
    choices = iter(schedule)
    while running:
        chosen = running[next(choices, 0) % len(running)]
        try:
            chosen.send(None)
        except StopIteration:
            running.remove(chosen)
