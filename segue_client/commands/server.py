"""The server's models and jobs."""

from __future__ import annotations

import argparse

from segue_client.answers import ClientError, Job
from segue_client.client import SegueClient
from segue_client.commands.group import Commands
from segue_client.lines import damaged_line, job_line, model_line
from segue_client.terminal import Terminal, short_ids


def add_commands(commands: Commands) -> None:
    sub = commands.add("jobs", jobs, "list jobs, the newest first")
    sub.add_argument("--unfinished", action="store_true", help="only those that are still to be done")
    commands.add("cancel", cancel, "cancel a job", "job")
    commands.add("models", models, "list what is served: models of music and of stems, the analyser")


def jobs(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    found = list(client.jobs())
    short = short_ids([job.id for job in found])
    for job in found:
        if not isinstance(job, Job):
            terminal.say(damaged_line(job, short[job.id]))
        elif not (args.unfinished and job.is_finished):
            terminal.say(job_line(job, short[job.id]))


def cancel(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    job = client.cancel_job(args.job)
    if job.is_finished and job.state != "cancelled":
        raise ClientError(f"job {job.id} had ended before: it {job.state}")
    terminal.say(f"cancelled {job.id}" if job.is_finished else f"{job.id} is asked to end")


def models(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    served = client.models()
    for kind, found in (
        ("music", served.models),
        ("stems", served.separators),
        ("analysis", () if served.analyser is None else (served.analyser,)),
    ):
        for model in found:
            terminal.say(model_line(kind, model))
