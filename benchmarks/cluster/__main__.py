"""Two ingresses, two runners, on S3 and on a local folder: `python -m benchmarks.cluster [--quick] [--json FILE]`.

The S3 server is ministack; with `scripts/ceph-rgw run python -m benchmarks.cluster` it is Ceph.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.kit import machine
from benchmarks.kit.report import Report, options
from benchmarks.kit.studio import Studio
from benchmarks.kit.tables import Table
from benchmarks.service import event_lag, overhead
from benchmarks.service.engine_alone import THREADS
from benchmarks.storage.stores import Kind, Place, place, s3_kinds
from tests.serve.server import Server, local_deploy_file

PACKAGES = ("ray", "fastapi", "uvicorn", "boto3", "ministack", "torch")
REPLICAS = {"Ingress": 2, "JobRunner": 2}


@dataclass(frozen=True, slots=True)
class Effort:
    """How often everything is repeated."""

    takes: int
    changes: int


FULL = Effort(takes=15, changes=40)
QUICK = Effort(takes=2, changes=4)


def main() -> None:
    arguments = options("benchmarks.cluster", "Measure several replicas on S3.").parse_args()
    # Being told to end must not leave a cluster behind: the `finally` clauses take it down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    about = machine.describe(PACKAGES)
    tables = _measure(QUICK if arguments.quick else FULL)
    Report("Segue on S3, measured", about, tables, arguments.quick).give(arguments.json)


def _measure(effort: Effort) -> list[Table]:
    probes = {"before the servers": machine.spin_ratio()}
    with ExitStack() as stack:
        studios = [
            stack.enter_context(_studio(stack.enter_context(place(kind))))
            for kind in (Kind.LOCAL_FOLDER, s3_kinds()[-1])
        ]
        probes["before overhead"] = machine.spin_ratio()
        print("measuring: overhead", file=sys.stderr)
        tables = overhead.measure(studios, effort.takes)
        probes["before event lag"] = machine.spin_ratio()
        print("measuring: event lag", file=sys.stderr)
        tables.append(event_lag.measure_several(studios, effort.changes))
    return [*tables, machine.quietness(probes)]


@contextmanager
def _studio(where: Place) -> Iterator[Studio]:
    """A server of its own that keeps everything at that place."""
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder:
        server = Server(
            Path(folder),
            deploy_file=_deploy_file(),
            **_environment(where),
        )
        try:
            server.start()
            studio = Studio(server.port, where.name)
            yield studio
            studio.close()
        finally:
            server.stop()


def _environment(where: Place) -> dict[str, Any]:
    endpoint_url = where.settings.endpoint_url
    return {
        "MODEL": ",".join(overhead.MODELS),
        "SEGUE_MODELS__THREADS": str(THREADS),
        "SEGUE_STORAGE": where.settings.url,
        **({"SEGUE_STORAGE__ENDPOINT_URL": endpoint_url} if endpoint_url is not None else {}),
        **where.environment,
    }


def _deploy_file() -> dict[str, Any]:
    """`configs/local.yaml`, with as many replicas as `REPLICAS` says."""
    content = local_deploy_file()
    for application in content["applications"]:
        for deployment in application["deployments"]:
            deployment["num_replicas"] = REPLICAS.get(deployment["name"], deployment["num_replicas"])
    return content


if __name__ == "__main__":
    main()
