"""A program in a process group of its own, none of which is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any


@asynccontextmanager
async def process_group(*arguments: str, **options: Any) -> AsyncIterator[Process]:
    """Run the program `arguments[0]`, without a shell and with nothing to read. Whoever leaves the context without
    an error has waited for it. After an error, and when the task is cancelled, be it while the program is being
    started, the whole group has been killed.

    `options` are those of `asyncio.create_subprocess_exec`. Raises OSError if the program cannot be started.
    """
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(*arguments, stdin=DEVNULL, start_new_session=True, **options)
    )
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Left to itself, asyncio would kill only the leader of a group that it is still being connected to.
        with suppress(OSError):
            await _kill(await starting)
        raise
    try:
        yield process
    except BaseException:
        await _kill(process)
        raise


async def _kill(process: Process) -> None:
    # The leader's pid names the group, and stays taken while any member lives.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
