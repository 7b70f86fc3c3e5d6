"""A plugin (`pytest -p tests.slow_store`): a store in memory that takes its time, another one with each call.

What a test has not waited for then shows, wherever it holds on a quick store by good luck alone.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from storage.stores.memory import MemoryStore

LONGEST_S = 0.1


async def _let_others_run() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # somebody steps through it by hand
        await asyncio.sleep(0)
    else:
        await asyncio.sleep(random.choice((0.0, random.uniform(0.0, LONGEST_S))))


def pytest_configure(config: pytest.Config) -> None:
    MemoryStore._let_others_run = staticmethod(_let_others_run)  # type: ignore[method-assign]
