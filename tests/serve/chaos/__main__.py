"""`python -m tests.serve.chaos --seed N --kills K` kills by one schedule; exit code 1 if anything did not hold."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.serve.chaos.places import immune, in_bucket, in_folder
from tests.serve.chaos.run import Report, Run
from tests.serve.chaos.schedule import draw_schedule

PLACES = {"s3": in_bucket, "folder": in_folder}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.serve.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument(
        "--storage",
        choices=PLACES,
        default="s3",
        help="s3: a bucket that keeps every version, all of which are checked; on ministack, or on the server "
        "that SEGUE_TEST_S3_ENDPOINT names",
    )
    parser.add_argument("--logs", type=Path, help="a folder to keep the cluster's logs in")
    wanted = parser.parse_args()
    logging.getLogger("httpx").setLevel(logging.WARNING)

    with (
        tempfile.TemporaryDirectory(prefix="segue-chaos-") as name,
        PLACES[wanted.storage](Path(name)) as place,
    ):
        schedule = draw_schedule(wanted.seed, wanted.kills, without=immune(place))
        print(f"seed {wanted.seed}: {wanted.kills} kills")
        for number, strike in enumerate(schedule, 1):
            print(f"  {number:3} {strike}")
        run = Run(place, Path(name), wanted.seed, wanted.users, lambda what: print(what, flush=True))
        report = run.play(schedule, wanted.logs)
    _print(report, f"seed {wanted.seed} on {place.name}")
    return 0 if report.is_clean else 1


def _print(report: Report, what: str) -> None:
    print(f"\nkills     {report.kills.total()}: {_counts(report.kills)}")
    print(f"jobs      {report.jobs.total()}: {_counts(report.jobs)}")
    if report.failures:
        print(f"failures  {_counts(report.failures)}")
    if report.stray_markers:
        print(f"strays    {report.stray_markers} markers of requests that were broken off for good")
    print(f"doings    {_counts(report.doings)}")
    print(f"asked again after  {_counts(report.unanswered)}")
    for loss in report.users_lost:
        print(f"user lost: {loss}")
    print()
    for finding in report.findings:
        print(finding)
    verdict = "comes back" if report.serves_again else "DOES NOT COME BACK"
    print(f"\n{what}: {report.kills.total()} kills, {report.jobs.total()} jobs, ", end="")
    print(f"{report.violations} violations, {verdict}")


def _counts(counts: Counter[Any]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
