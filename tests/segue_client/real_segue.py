"""The real application on a loopback port, in a thread of its own: the client under test blocks the test's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.support.harness import Running, listening, running
from tests.support.patience import PATIENCE_S

T = TypeVar("T")


@dataclass(frozen=True)
class RealSegue:
    """`app` belongs to another thread's event loop: reach it through `do`."""

    url: str
    app: Running
    _loop: asyncio.AbstractEventLoop

    def do(self, work: Callable[[Running], Coroutine[Any, Any, T]]) -> T:
        """The result of `work(app)`, run where the application runs."""
        return asyncio.run_coroutine_threadsafe(work(self.app), self._loop).result(PATIENCE_S)


@contextmanager
def real_segue(*arguments: Any, **options: Any) -> Iterator[RealSegue]:
    """The application that `tests.support.harness.running` makes of these arguments, behind a real socket."""
    started: Future[RealSegue] = Future()
    ended = threading.Event()

    async def serve() -> None:
        try:
            async with running(*arguments, **options) as app, listening(app.api) as http:
                url = str(http.base_url).rstrip("/")
                started.set_result(RealSegue(url, app, asyncio.get_running_loop()))
                await asyncio.to_thread(ended.wait)
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    try:
        yield started.result(PATIENCE_S)
    finally:
        ended.set()
        thread.join(PATIENCE_S)
