"""What the cluster looks like while musicians work: replicas, queues, and the memory of each of its processes."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

INTERVAL_S = 2.0
SHOWN = ("Ingress", "JobRunner", "Generator", "Separator", "Analyser", "EventHub")


@dataclass
class Moment:
    """`replicas` that run, `wanted` ones and `queued` takes are of the generator; memory is PSS, by process."""

    at_s: float
    replicas: int = 0
    wanted: int = 0
    queued: int = 0
    unfinished: int = 0
    waiting: int = 0
    memory_mb: dict[str, float] = field(default_factory=dict)


class Watcher:
    """Looks every `INTERVAL_S` from a thread of its own. `pids` returns the processes of one title."""

    def __init__(self, url: str, pids: Callable[[str], list[int]]) -> None:
        self._http = httpx.Client(base_url=url, timeout=20, trust_env=False)
        self._pids = pids
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.moments: list[Moment] = []

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._http.close()

    def look(self) -> Moment:
        """Zeros where the server does not answer in time; memory is always there."""
        moment = Moment(time.time())
        try:
            seen: dict[str, Any] = self._http.get("/v1/gpu").raise_for_status().json()
        except httpx.HTTPError:
            pass
        else:
            generator = seen["deployments"].get("Generator", {})
            moment.replicas = generator.get("replicas", {}).get("RUNNING", 0)
            moment.wanted = generator.get("target_replicas", 0)
            moment.queued = generator.get("queued") or 0
            moment.unfinished = seen["jobs"]["unfinished"]
            moment.waiting = seen["jobs"]["waiting"] or 0
        memory: dict[str, float] = defaultdict(float)
        for name in SHOWN:
            for pid in self._pids(f"ray::ServeReplica:segue:{name}"):
                memory[name] += pss_mb(pid)
        for name in ("ray::ProxyActor", "ray::ServeController"):
            for pid in self._pids(name):
                memory[name.removeprefix("ray::")] += pss_mb(pid)
        moment.memory_mb = dict(memory)
        return moment

    def _run(self) -> None:
        while not self._end.is_set():
            self.moments.append(self.look())
            self._end.wait(INTERVAL_S)


def pss_mb(pid: int) -> float:
    """What is shared counts in parts; 0 for a process that has gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
