"""Replicas over time under a burst of takes: `python -m benchmarks.cluster.burst [--quick] [--json FILE]`.

`serve_config.yaml` with the tiny model on a cluster with two logical GPUs.
"""

from __future__ import annotations

import math
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.kit import machine
from benchmarks.kit.child import Child
from benchmarks.kit.report import Report, options
from benchmarks.kit.studio import Studio
from benchmarks.kit.tables import Row, Table
from tests.serve.cluster import Cluster
from tests.serve.server import Server, cluster_deploy_file, deployment_options

PACKAGES = ("ray", "torch")
GPUS = 2
CPUS = 12
DOWNSCALE_DELAY_S = 10
TAKE_S = 8.0
TAKES_AT_ONCE = 8
INTERVAL_S = 0.2
TIMEOUT_S = 400.0


@dataclass(frozen=True, slots=True)
class Effort:
    bursts: int
    takes: int


FULL = Effort(bursts=5, takes=48)
QUICK = Effort(bursts=1, takes=24)


@dataclass(frozen=True, slots=True)
class Sample:
    """How things stood `at_s` after the burst began. Replicas are by Serve's status; `queued` and `done` count
    takes."""

    at_s: float
    target: int
    starting: int
    running: int
    stopping: int
    queued: int
    done: int


def main() -> None:
    arguments = options("benchmarks.cluster.burst", "Measure how a burst brings replicas.").parse_args()
    # Being told to end must not leave a cluster behind: the `finally` clauses take it down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    about = machine.describe(PACKAGES)
    effort = QUICK if arguments.quick else FULL
    probes = {"before the cluster": machine.spin_ratio()}
    bursts = _measure(effort, probes)
    tables = [_events(bursts, effort), _course(bursts[0], effort), machine.quietness(probes)]
    Report("Replicas under a burst, measured", about, tables, arguments.quick).give(arguments.json)


def _measure(effort: Effort, probes: dict[str, float]) -> list[list[Sample]]:
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as name:
        folder = Path(name)
        # A lease that no burst starves: what is measured is scaling, not takeover.
        cluster = Cluster(folder, num_cpus=CPUS, num_gpus=GPUS, SEGUE_JOBS__LEASE_S="60")
        server = Server(folder, cluster=cluster, deploy_file=_deploy_file())
        try:
            cluster.start()
            server.start()
            with Child("benchmarks.cluster.replicas", **cluster.environment) as replicas:
                studio, bursts = Studio(server.port), []
                for number in range(1, effort.bursts + 1):
                    probes[f"before burst {number}"] = machine.spin_ratio()
                    print(f"measuring: burst {number}", file=sys.stderr)
                    bursts.append(_burst(studio, replicas, effort.takes))
                studio.close()
            return bursts
        finally:
            server.stop()
            cluster.stop()


def _deploy_file() -> dict[str, Any]:
    content = cluster_deploy_file()
    scaling = deployment_options(content, "Generator")["autoscaling_config"]
    scaling["downscale_delay_s"] = DOWNSCALE_DELAY_S
    return content


def _burst(studio: Studio, replicas: Child, takes: int) -> list[Sample]:
    """From the burst's first request until one idle replica is left. Raises TimeoutError."""
    chain = studio.upload(3.0)
    began_s = time.monotonic()
    for first in range(0, takes, TAKES_AT_ONCE):
        studio.branch(chain, duration_s=TAKE_S, takes=min(TAKES_AT_ONCE, takes - first))
    samples: list[Sample] = []
    while (at_s := time.monotonic() - began_s) < TIMEOUT_S:
        seen = replicas.ask(deployment="Generator")
        capacity = studio.capacity()
        states = seen["states"]
        samples.append(
            Sample(
                at_s=at_s,
                target=seen["target"],
                starting=states.get("STARTING", 0),
                running=states.get("RUNNING", 0),
                stopping=states.get("STOPPING", 0),
                queued=capacity["deployments"]["Generator"]["queued"] or 0,
                done=takes - capacity["jobs"]["unfinished"],
            )
        )
        if samples[-1].done == takes and states == {"RUNNING": 1}:
            return samples
        time.sleep(INTERVAL_S)
    raise TimeoutError(f"after {TIMEOUT_S:g} s the burst is not over: {samples[-1]}")


def _events(bursts: Sequence[Sequence[Sample]], effort: Effort) -> Table:
    events: dict[str, Callable[[Sample], bool]] = {
        "a second replica is requested": lambda sample: sample.target >= 2,
        "a third replica is requested": lambda sample: sample.target >= 3,
        "a second replica runs": lambda sample: sample.running >= 2,
        "a third replica runs": lambda sample: sample.running >= 3,
        "the last take is done": lambda sample: sample.done == effort.takes,
    }
    rows: list[Row] = []
    for event, has_come in events.items():
        came_s = [_first(samples, has_come) for samples in bursts]
        rows.append(
            {"event": event, "median (s)": median(came_s), "least (s)": min(came_s), "most (s)": max(came_s)}
        )
    scaling = deployment_options(_deploy_file(), "Generator")["autoscaling_config"]
    scaled_by = ", ".join(f"`{name}: {value}`" for name, value in scaling.items())
    return Table(
        "events",
        "From the burst's first request",
        f"Bursts ({effort.bursts}) of {effort.takes} takes of {TAKE_S:g} s on `serve_config.yaml` with the tiny "
        f"model, one take at a time in each replica ({scaled_by}; the file's own downscale_delay_s is longer), "
        f"each begun with one replica. Serve's own status, asked every {INTERVAL_S:g} s; what is done by "
        "`/v1/gpu`, up to 1 s old. Between requested and running a replica starts its process and loads its "
        "model.",
        rows,
    )


def _first(samples: Sequence[Sample], has_come: Callable[[Sample], bool]) -> float:
    """NaN if it never came."""
    return next((sample.at_s for sample in samples if has_come(sample)), math.nan)


def _course(samples: Sequence[Sample], effort: Effort) -> Table:
    """One row for each second in which something changed."""
    rows: list[Row] = []
    shown: tuple[int, ...] = ()
    for sample, following in zip(samples, [*samples[1:], None], strict=True):
        state = (sample.target, sample.starting, sample.running, sample.stopping, sample.queued, sample.done)
        is_last_of_its_second = following is None or int(following.at_s) > int(sample.at_s)
        if is_last_of_its_second and state != shown:
            shown = state
            names = ("target", "starting", "running", "stopping", "queued", "done")
            rows.append({"seconds": int(sample.at_s), **dict(zip(names, state, strict=True))})
    return Table(
        "course",
        "Replicas over time: the first burst",
        f"At the end of each second in which something changed: the replicas that Serve wants, those there are by "
        f"their state, takes that wait for an engine, and how many of the {effort.takes} are done.",
        rows,
    )


if __name__ == "__main__":
    main()
