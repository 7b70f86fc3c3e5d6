"""How soon a subscriber hears of a change, with the event hub alive and with it dead."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from benchmarks.child import Child
from benchmarks.studio import Studio
from benchmarks.summary import Summary
from benchmarks.tables import Row, Table
from tests.serve.server import Server

SUBSCRIBERS = (1, 50)
PAUSE_S = 0.3
DEAD_PAUSE_S = 2.0
"""The poll interval of the settings: with a pause of up to that, changes meet polls at any phase."""
KILL_EVERY_S = 0.2


def measure(studio: Studio, server: Server, changes: int, changes_without_hub: int) -> Table:
    """Leaves the hub dead: Serve takes its time to bring back what died so often."""
    rows = [_row(studio, "alive", subscribers, changes, PAUSE_S) for subscribers in SUBSCRIBERS]
    with _hub_dead(server):
        rows += [
            _row(studio, "dead", subscribers, changes_without_hub, DEAD_PAUSE_S)
            for subscribers in SUBSCRIBERS
        ]
    return Table(
        "event_lag",
        "From a change to its frame",
        "Milliseconds from a chain's own `updated_at` (stamped just before the write) to the arrival of the "
        "`chain` frame, through Serve's proxy, in one client process; `last` is the last subscriber to hear "
        "of a change. `writer` is how long the PATCH that made the change waited for its own answer from the "
        "same stamp on. With the hub dead (its replica killed again and again) streams poll every 2 s.",
        rows,
    )


def _row(studio: Studio, hub: str, subscribers: int, changes: int, pause_s: float) -> Row:
    chain = studio.upload(0.5)
    timing = random.Random(subscribers)
    every_s, last_s, writer_s = [], [], []
    with Child("benchmarks.listeners") as listeners:
        listeners.ask(port=studio.port, chain_id=chain["id"], subscribers=subscribers)
        for change in range(changes):
            time.sleep(timing.uniform(0, pause_s))
            changed = studio.rename(chain, f"take {change}")
            answered_s = time.time()
            stamped_s = datetime.fromisoformat(changed["updated_at"]).timestamp()
            heard = listeners.ask(until_version=changed["version"])
            lags_s = [frames[-1][0] - stamped_s for frames in heard]
            every_s += lags_s
            last_s.append(max(lags_s))
            writer_s.append(answered_s - stamped_s)
    every, last = Summary.in_ms(every_s), Summary.in_ms(last_s)
    return {
        "hub": hub,
        "subscribers": subscribers,
        "changes": changes,
        "frame p50": every.median,
        "frame p95": every.p95,
        "last p50": last.median,
        "last p95": last.p95,
        "writer p50": Summary.in_ms(writer_s).median,
    }


@contextmanager
def _hub_dead(server: Server) -> Iterator[None]:
    """Kill the hub, and each one that Serve starts in its place, before it can do anything."""
    ended = threading.Event()

    def keep_killing() -> None:
        while not ended.wait(KILL_EVERY_S):
            if server.pids("ray::ServeReplica:segue:EventHub"):
                server.kill("EventHub")

    server.kill("EventHub")
    killer = threading.Thread(target=keep_killing, name="hub-killer")
    killer.start()
    try:
        yield
    finally:
        ended.set()
        killer.join()
