"""One thread that does one thing at a time, in the order of arrival, and can be watched."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

Work = Callable[[], None]


class Worker:
    """A daemon thread for work that blocks. Work handed in must catch its own errors: one that escapes ends
    the thread, and `is_alive` tells."""

    def __init__(self, name: str, prepare: Work | None = None) -> None:
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._prepare = prepare
        self._last_sign_s = time.monotonic()
        self._busy = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def silent_s(self) -> float:
        """How long the work in hand has given no sign; 0 while there is none."""
        return time.monotonic() - self._last_sign_s if self._busy else 0.0

    def submit(self, work: Work) -> None:
        self._queue.put(work)

    def give_sign(self) -> None:
        """Called from the work as it gets ahead."""
        self._last_sign_s = time.monotonic()

    def stop(self, timeout_s: float) -> bool:
        """End after the work that is queued already; whether it ended in time."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        if self._prepare is not None:
            self._prepare()
        while (work := self._queue.get()) is not None:
            self.give_sign()
            self._busy = True
            try:
                work()
            finally:
                self._busy = False
                # Not kept until the next work comes: it may hold audio and tensors.
                del work
