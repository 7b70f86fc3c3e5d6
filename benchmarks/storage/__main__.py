"""Segue's storage beside plain boto3: `python -m benchmarks.storage [--quick] [--json FILE]`.

A local folder and ministack; `scripts/ceph-rgw run python -m benchmarks.storage` adds Ceph.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kit import machine
from benchmarks.kit.report import Report, options
from benchmarks.kit.tables import Table
from benchmarks.storage import blobs, documents
from benchmarks.storage.client_processes import Crew
from benchmarks.storage.stores import Kind, place, s3_kinds

PACKAGES = ("boto3", "ministack")


@dataclass(frozen=True, slots=True)
class Effort:
    """How often everything is repeated."""

    rounds: int
    document_s: float
    small_s: float
    large_times: int


FULL = Effort(rounds=7, document_s=1.5, small_s=1.0, large_times=3)
QUICK = Effort(rounds=1, document_s=0.4, small_s=0.3, large_times=1)


def main() -> None:
    arguments = options("benchmarks.storage", "Measure the storage.").parse_args()
    # Being told to end must not leave a server behind: the `finally` clauses take it down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    about = machine.describe(PACKAGES)
    tables = _measure(QUICK if arguments.quick else FULL)
    Report("Segue's storage, measured", about, tables, arguments.quick).give(arguments.json)


def _measure(effort: Effort) -> list[Table]:
    probes = {"before the servers": machine.spin_ratio()}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-bench-")))
        places = [stack.enter_context(place(kind)) for kind in (Kind.LOCAL_FOLDER, *s3_kinds())]
        crews = [stack.enter_context(Crew(where, documents.PROCESSES)) for where in places]
        probes["before documents"] = machine.spin_ratio()
        print("measuring: documents", file=sys.stderr)
        tables = [documents.measure(crews, effort.rounds, effort.document_s)]
        probes["before objects"] = machine.spin_ratio()
        print("measuring: objects", file=sys.stderr)
        tables.append(blobs.measure(crews, folder, effort.rounds, effort.small_s, effort.large_times))
        probes["at the end"] = machine.spin_ratio()
    return [*tables, machine.quietness(probes)]


if __name__ == "__main__":
    main()
