"""How soon a subscriber hears of a change: with the hub alive and with it dead, and from several ingresses."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from benchmarks.kit.child import Child
from benchmarks.kit.studio import Studio
from benchmarks.kit.summary import Summary
from benchmarks.kit.tables import Row, Table
from tests.serve.server import Server

SUBSCRIBERS = (1, 50)
SUBSCRIBERS_OF_SEVERAL = (1, 100)
BLOCKS = 4
PAUSE_S = 0.3
DEAD_PAUSE_S = 2.0
"""The poll interval of the settings: with a pause of up to that, changes meet polls at any phase."""
KILL_EVERY_S = 0.2


NOTE = (
    "Milliseconds from a chain's own `updated_at` (stamped just before the write) to the arrival of the `chain` "
    "frame, through Serve's proxy, in one client process; `last` is the last subscriber to hear of a change. "
    "`writer` is how long the PATCH that made the change waited for its own answer from the same stamp on."
)


@dataclass
class Lags:
    """Seconds from a change to its frame at every subscriber and at the last one, and to the writer's answer."""

    every_s: list[float] = field(default_factory=list)
    last_s: list[float] = field(default_factory=list)
    writer_s: list[float] = field(default_factory=list)
    streams: Counter[str] = field(default_factory=Counter)
    """How many subscribers each ingress replica had, in the last block."""

    def row(self) -> Row:
        every, last = Summary.in_ms(self.every_s), Summary.in_ms(self.last_s)
        return {
            "changes": last.count,
            "frame p50": every.median,
            "frame p95": every.p95,
            "last p50": last.median,
            "last p95": last.p95,
            "writer p50": Summary.in_ms(self.writer_s).median,
        }


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
        f"{NOTE} With the hub dead (its replica killed again and again) streams poll every 2 s.",
        rows,
    )


def measure_several(studios: Sequence[Studio], changes: int) -> Table:
    """On several servers, each with several ingresses, in turns."""
    lags: dict[tuple[str, int], Lags] = defaultdict(Lags)
    for block in range(BLOCKS):
        for subscribers in SUBSCRIBERS_OF_SEVERAL:
            for studio in studios if block % 2 == 0 else studios[::-1]:
                heard = lags[studio.store, subscribers]
                _listen(studio, heard, subscribers, changes // BLOCKS, PAUSE_S, random.Random(block))
    return Table(
        "event_lag",
        "From a change to its frame, over two ingresses",
        f"{NOTE} `streams` is how many of the subscribers each ingress replica had, in the last of {BLOCKS} blocks "
        "of changes, between which the servers take turns.",
        [
            {
                "store": studio.store,
                "subscribers": subscribers,
                "streams": " + ".join(map(str, sorted(lags[studio.store, subscribers].streams.values()))),
                **lags[studio.store, subscribers].row(),
            }
            for studio in studios
            for subscribers in SUBSCRIBERS_OF_SEVERAL
        ],
    )


def _row(studio: Studio, hub: str, subscribers: int, changes: int, pause_s: float) -> Row:
    lags = Lags()
    _listen(studio, lags, subscribers, changes, pause_s, random.Random(subscribers))
    return {"hub": hub, "subscribers": subscribers, **lags.row()}


def _listen(
    studio: Studio, lags: Lags, subscribers: int, changes: int, pause_s: float, timing: random.Random
) -> None:
    """Change a new chain so many times, before so many subscribers, with a pause of up to `pause_s` before each."""
    chain = studio.upload(0.5)
    with Child("benchmarks.service.listeners") as listeners:
        listeners.ask(port=studio.port, chain_id=chain["id"], subscribers=subscribers)
        lags.streams = Counter(listeners.ask(replicas=True))
        for change in range(changes):
            time.sleep(timing.uniform(0, pause_s))
            changed = studio.rename(chain, f"take {change}")
            answered_s = time.time()
            stamped_s = datetime.fromisoformat(changed["updated_at"]).timestamp()
            heard = listeners.ask(until_version=changed["version"])
            arrived_s = [frames[-1][0] - stamped_s for frames in heard]
            lags.every_s += arrived_s
            lags.last_s.append(max(arrived_s))
            lags.writer_s.append(answered_s - stamped_s)


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
