"""`serve run` itself, with reports for the supervisor (`serve_app.run`): a line for each step, and what failed."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator

import ray
from ray import serve
from ray.serve.schema import ApplicationStatus, ServeStatus
from ray.serve.scripts import cli

POLL_S = 0.5


def reports(status: ServeStatus, known: dict[str, str]) -> Iterator[str]:
    """What is new in `status`, against the applications' states in `known`, which are brought up to date."""
    for name, application in status.applications.items():
        state = str(application.status.value)
        if known.get(name) == state:
            continue
        before, known[name] = known.get(name), state
        if application.status is ApplicationStatus.DEPLOY_FAILED:
            yield f"failed: {_in_one_line(application.message)}"
        elif application.status is ApplicationStatus.DEPLOYING and before is None:
            yield "Loading the models ..."
        elif application.status is ApplicationStatus.UNHEALTHY:
            yield f"Segue is not healthy: {_in_one_line(application.message)}"
        elif before == ApplicationStatus.UNHEALTHY.value and application.status is ApplicationStatus.RUNNING:
            yield "Segue is healthy again."


def _in_one_line(message: str) -> str:
    """The message, without the traceback: its last line is the exception's."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def report(pipe: int) -> None:
    """Write reports to `pipe` until the process ends or nobody reads them."""
    known: dict[str, str] = {}
    try:
        os.write(pipe, b"Starting Ray ...\n")
        while True:
            time.sleep(POLL_S)
            if not ray.is_initialized():
                continue
            try:
                status = serve.status()
            except Exception:  # noqa: S112  # Serve is being started or stopped; the next look says more
                continue
            for line in reports(status, known):
                os.write(pipe, line.encode() + b"\n")
    except OSError:
        return


def main() -> None:
    config, _, pipe = sys.argv[1:]
    os.set_inheritable(int(pipe), False)
    threading.Thread(target=report, args=(int(pipe),), daemon=True).start()
    cli(["run", config], prog_name="serve")


if __name__ == "__main__":
    main()
