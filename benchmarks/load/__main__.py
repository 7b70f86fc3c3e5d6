"""`python -m benchmarks.load [--quick] [--json FILE]`: musicians at work on `serve_config.yaml` with the tiny
model, on a cluster of its own with two logical GPUs. `make load` runs it. Needs the extra `load`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.kit import machine
from benchmarks.kit.child import REPOSITORY
from benchmarks.kit.report import Report, options
from benchmarks.kit.summary import percentile
from benchmarks.kit.tables import Row, Table
from benchmarks.load.plan import Phase, phases_from, phases_to
from benchmarks.load.samples import Sample, of, read
from benchmarks.load.watcher import Moment, Watcher
from tests.serve.cluster import Cluster
from tests.serve.server import Server, cluster_deploy_file, deployment_options

PACKAGES = ("ray", "torch", "locust")
FULL = (Phase(60, 2), Phase(60, 4), Phase(60, 8), Phase(60, 24), Phase(60, 2))
QUICK = (Phase(20, 2), Phase(20, 4))
GPUS, CPUS = 2, 12
DOWNSCALE_DELAY_S = 20
UNFINISHED_JOBS = 24
"""Of one tenant, before 429: so few that the machine is full before its memory is."""
NOTED = ("take", "first audio", "event lag", "queue wait")
"""Samples that are no requests: what musicians notice besides."""

SETTLE_S = 30.0
"""What is looked at after the last musician has gone."""


def main() -> None:
    parser = options("benchmarks.load", "Musicians at work on a cluster.")
    parser.add_argument("--phases", type=phases_from, help="SECONDSxMUSICIANS,...: 60x2,60x8")
    parser.add_argument("--start-timeout", type=float, default=300.0, help="for a busy machine, in seconds")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    phases = arguments.phases or (QUICK if arguments.quick else FULL)
    about = machine.describe(PACKAGES)
    probes = {"before the cluster": machine.spin_ratio()}
    began_s, samples, moments = _run(phases)
    tables = [
        _phases(began_s, phases, samples, moments),
        _routes(samples),
        _memory(began_s, moments),
        machine.quietness(probes),
    ]
    Report("Musicians at work, measured", about, tables, arguments.quick).give(arguments.json)
    if arguments.json is not None:
        from benchmarks.load.plot import draw

        draw(arguments.json.with_suffix(".svg"), began_s, phases, samples, moments)


def _run(phases: Sequence[Phase]) -> tuple[float, list[Sample], list[Moment]]:
    with tempfile.TemporaryDirectory(prefix="segue-load-") as name:
        folder = Path(name)
        kept = folder / "samples.jsonl"
        cluster = Cluster(
            folder,
            num_cpus=CPUS,
            num_gpus=GPUS,
            SEGUE_JOBS__LEASE_S="60",  # what is measured is load, not takeover
            SEGUE_JOBS__MAX_ACTIVE_PER_TENANT=str(UNFINISHED_JOBS),
        )
        server = Server(folder, cluster=cluster, deploy_file=_deploy_file())
        try:
            cluster.start()
            server.start()
            with Watcher(server.url, server.pids) as watcher:
                began_s = time.time()
                _locust(server.url, phases, kept)
                time.sleep(SETTLE_S)
            return began_s, read(kept), watcher.moments
        finally:
            server.stop()
            cluster.stop()


def _locust(url: str, phases: Sequence[Phase], kept: Path) -> None:
    """Musicians in a process of their own. Raises CalledProcessError if they could not be run."""
    variables = {"LOAD_PHASES": phases_to(phases), "LOAD_SAMPLES": str(kept), "PYTHONPATH": str(REPOSITORY)}
    file = Path(__file__).with_name("users.py")
    command = [sys.executable, "-m", "locust", "-f", str(file), "--headless", "--only-summary", "--host", url]
    # Requests that were refused or failed are in the samples: its status says no more.
    done = subprocess.run(
        [*command, "--exit-code-on-error", "0", "--stop-timeout", "5"],
        env={**os.environ, **variables},
        stdout=sys.stderr,
        timeout=sum(phase.seconds for phase in phases) + 120,
        check=True,
    )
    assert done.returncode == 0


def _deploy_file() -> dict[str, Any]:
    content = cluster_deploy_file()
    deployment_options(content, "Generator")["autoscaling_config"]["downscale_delay_s"] = DOWNSCALE_DELAY_S
    return content


def _phases(
    began_s: float, phases: Sequence[Phase], samples: Sequence[Sample], moments: Sequence[Moment]
) -> Table:
    rows: list[Row] = []
    start_s = began_s
    for phase in phases:
        end_s = start_s + phase.seconds
        here = [sample for sample in samples if start_s <= sample.at_s < end_s]
        seen = [moment for moment in moments if start_s <= moment.at_s < end_s]
        takes, branches, first = of(here, "take"), of(here, "branch"), of(here, "first audio")
        ready = sum(sample.outcome == "ready" for sample in takes)
        rows.append(
            {
                "musicians": phase.musicians,
                "seconds": phase.seconds,
                "requests": sum(sample.name not in NOTED for sample in here),
                "failed": sum(_has_failed(sample) for sample in here),
                "takes ready / s": ready / phase.seconds,
                "goodput (%)": 100 * ready / max(1, len(takes)),
                "refused (429)": sum(sample.outcome == "429" for sample in branches),
                "first audio p50 (s)": _quantile(first, 50),
                "p99 (s)": _quantile(first, 99),
                "queue wait p50 (s)": _quantile(of(here, "queue wait"), 50),
                "event lag p50 (ms)": 1000 * _quantile(of(here, "event lag"), 50),
                "replicas at most": max((moment.replicas for moment in seen), default=0),
                "unfinished jobs at most": max((moment.unfinished for moment in seen), default=0),
            }
        )
        start_s = end_s
    return Table(
        "phases",
        "Phase by phase",
        f"`serve_config.yaml` with the tiny model, one take at a time in each replica, {GPUS} logical GPUs (4 "
        f"replicas at most), at most {UNFINISHED_JOBS} unfinished jobs of the tenant. A musician asks for two "
        "takes of 4 s, listens to the first while it is made, waits for both, commits one, then begins again. "
        "Goodput: accepted takes that became ready, of those that ended in the phase. Failed: a status of 500 or "
        "more, or no answer.",
        rows,
    )


def _routes(samples: Sequence[Sample]) -> Table:
    rows: list[Row] = []
    for name in dict.fromkeys(sample.name for sample in samples):
        found = of(samples, name)
        good = [sample for sample in found if sample.outcome in ("ready", "200", "201", "202")]
        rows.append(
            {
                "what": name,
                "count": len(found),
                "failed": sum(map(_has_failed, found)),
                "p50 (s)": _quantile(good, 50),
                "p99 (s)": _quantile(good, 99),
            }
        )
    return Table(
        "routes",
        "By what was asked for",
        "Times of answers with 2xx, until their end: `listen` lasts as long as its take is made, `events` as long "
        "as its stream. `first audio` and `take` count from the request for takes; `queue wait` is a job's, until "
        "a runner claims it; `event lag` counts from a change's own stamp.",
        rows,
    )


def _memory(began_s: float, moments: Sequence[Moment]) -> Table:
    names = sorted({name for moment in moments for name in moment.memory_mb})
    rows: list[Row] = [
        {
            "process": name,
            "at first (MB)": round(moments[0].memory_mb.get(name, 0.0)),
            "at most (MB)": round(max(moment.memory_mb.get(name, 0.0) for moment in moments)),
            "at last (MB)": round(moments[-1].memory_mb.get(name, 0.0)),
        }
        for name in names
    ]
    return Table(
        "memory",
        "Memory",
        f"PSS of all processes of a kind, from the first musician to {SETTLE_S:g} s after the last "
        f"({moments[-1].at_s - began_s:.0f} s).",
        rows,
    )


def _quantile(samples: Sequence[Sample], percent: float) -> float:
    return percentile([sample.seconds for sample in samples], percent) if samples else float("nan")


def _has_failed(sample: Sample) -> bool:
    return sample.outcome == "lost" or (
        sample.outcome not in ("ready", "200") and not sample.outcome.startswith(("2", "4"))
    )


if __name__ == "__main__":
    main()
