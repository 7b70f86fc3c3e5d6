"""Work on the server, followed on the terminal. Ctrl-C ends the following and leaves the work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager

from segue_client.answers import Chain, Job, Node, WorkFailed
from segue_client.client import SegueClient
from segue_client.lines import outlook_words
from segue_client.terminal import Terminal


def follow_nodes(
    client: SegueClient,
    chain: Chain,
    terminal: Terminal,
    node_ids: Collection[str] | None,
    *,
    endless: bool = False,
) -> None:
    """Progress until all of `node_ids` (None: all in the chain) are finished.

    Raises WorkFailed if a node that was waited for was not made, KeyboardInterrupt with a sentence on Ctrl-C.
    """
    worked_on: dict[str, Node] = {}
    try:
        with (
            terminal.progress() as report,
            closing(client.follow(chain, node_ids, endless=endless)) as changes,
        ):
            for node in changes:
                # A snapshot has all nodes; those that were done before are no news.
                if node_ids is None and node.is_finished and node.id not in worked_on:
                    continue
                worked_on[node.id] = node
                done = 1.0 if node.status == "ready" else node.progress
                report(node.id, node.status, done, outlook_words(node))
    except KeyboardInterrupt:
        ended = {node.id for node in worked_on.values() if node.is_finished}
        raise KeyboardInterrupt(_left_running(chain, len({*worked_on, *(node_ids or ())} - ended))) from None
    lost = [node for node in worked_on.values() if node.is_finished and node.status != "ready"]
    if lost:
        reasons = [
            f"{node.id} {node.status}" + (f": {node.error.detail}" if node.error else "") for node in lost
        ]
        raise WorkFailed("; ".join(reasons))


def follow_jobs(client: SegueClient, terminal: Terminal, *, endless: bool) -> None:
    """Progress until no job is unfinished. Raises WorkFailed if one that was seen unfinished failed,
    KeyboardInterrupt with a sentence on Ctrl-C."""
    failed: list[Job] = []
    try:
        with terminal.progress() as report, closing(client.follow_jobs(endless=endless)) as changes:
            for job in changes:
                done = 1.0 if job.state == "succeeded" else job.progress
                report(f"{job.id}  {job.kind}", job.state, done, outlook_words(job))
                if job.state == "failed":
                    failed.append(job)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped watching; the server goes on with its jobs.") from None
    if failed:
        reasons = [f"{job.id} failed" + (f": {job.error.detail}" if job.error else "") for job in failed]
        raise WorkFailed("; ".join(reasons))


@contextmanager
def followed_job(terminal: Terminal, label: str) -> Iterator[Callable[[Job], None]]:
    """A job's progress under `label`. Raises KeyboardInterrupt with a sentence on Ctrl-C."""
    seen: list[Job] = []
    with terminal.progress() as report:

        def on_progress(job: Job) -> None:
            seen[:] = [job]
            report(label, job.state, job.progress, outlook_words(job))

        try:
            yield on_progress
        except KeyboardInterrupt:
            running = [job for job in seen if not job.is_finished]
            if not running:
                raise
            raise KeyboardInterrupt(
                f"The server goes on with job {running[0].id}; end it with: segue cancel {running[0].id}"
            ) from None


def _left_running(chain: Chain, count: int) -> str:
    if count == 0:
        return "Stopped watching."
    takes = "1 take" if count == 1 else f"{count} takes"
    return f"Stopped watching; the server goes on making {takes}. Watch again with: segue watch {chain.id}"
