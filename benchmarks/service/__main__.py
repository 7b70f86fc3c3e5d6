"""All measurements of the service: `python -m benchmarks.service [--quick] [--json FILE]`."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.kit import machine
from benchmarks.kit.child import REPOSITORY
from benchmarks.kit.report import Report, options
from benchmarks.kit.studio import Studio
from benchmarks.kit.tables import Table
from benchmarks.service import event_lag, overhead, reads, uploads
from benchmarks.service.engine_alone import THREADS
from tests.serve.server import Server

PACKAGES = ("ray", "fastapi", "starlette", "uvicorn", "pydantic", "torch", "numpy")
BARE_START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How often everything is repeated."""

    takes: int
    changes: int
    changes_without_hub: int
    rounds: int
    round_s: float
    small_uploads: int
    large_uploads: int


FULL = Effort(20, 40, 15, 4, 1.2, 20, 4)
QUICK = Effort(3, 5, 3, 1, 0.4, 3, 1)


def main() -> None:
    arguments = options("benchmarks.service", "Measure the service.").parse_args()
    # Being told to end must not leave a cluster behind: the `finally` clauses take it down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    about = machine.describe(PACKAGES)
    tables = _measure(QUICK if arguments.quick else FULL)
    Report("Segue's service, measured", about, tables, arguments.quick).give(arguments.json)


def _measure(effort: Effort) -> list[Table]:
    probes: dict[str, float] = {"before the server": machine.spin_ratio()}
    tables: list[Table] = []
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder:
        server = Server(
            Path(folder),
            applications=[reads.BARE_APPLICATION],
            MODEL=",".join(overhead.MODELS),
            SEGUE_MODELS__THREADS=str(THREADS),
            PYTHONPATH=str(REPOSITORY),  # replicas find the bare application there
        )
        try:
            server.start()
            server.wait_until(lambda: _bare_answers(server), BARE_START_TIMEOUT_S, "bare FastAPI answers")
            studio = Studio(server.port)
            measurements: Mapping[str, Callable[[], list[Table]]] = {
                "overhead": lambda: overhead.measure([studio], effort.takes),
                "reads": lambda: [reads.measure(studio, effort.rounds, effort.round_s)],
                "uploads": lambda: [
                    uploads.measure(studio, server, effort.small_uploads, effort.large_uploads)
                ],
                # Last, for it leaves the event hub dead.
                "event lag": lambda: [
                    event_lag.measure(studio, server, effort.changes, effort.changes_without_hub)
                ],
            }
            for name, measurement in measurements.items():
                probes[f"before {name}"] = machine.spin_ratio()
                print(f"measuring: {name}", file=sys.stderr)
                tables += measurement()
            studio.close()
        finally:
            server.stop()
    return [*tables, machine.quietness(probes)]


def _bare_answers(server: Server) -> bool:
    url = f"{server.url}{reads.BARE_PREFIX}/bytes/1"
    return httpx.get(url, timeout=5, trust_env=False).status_code == 200


if __name__ == "__main__":
    main()
