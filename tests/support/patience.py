"""How long tests wait for what has to happen. That is no measure of speed: on a machine with much other work all is
slow, and only what never happens takes so long."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable

PATIENCE_S = 30.0


async def until(holds: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Waits for something that nobody announces: for `holds`, or what it returns once awaited, to be true.

    Raises TimeoutError.
    """
    async with asyncio.timeout(timeout_s):
        while True:
            held = holds()
            if inspect.isawaitable(held):
                held = await held
            if held:
                return
            await asyncio.sleep(0.005)
