"""Whatever seed, whatever goes wrong: every accepted job ends once, and the store stays as FORMAT.md says.

A failure prints its seed and its story; `python -m tests.simulation SEED` plays it again.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from storage.domain.jobs import JobState
from tests.simulation.clients import TENANT
from tests.simulation.invariants import violations
from tests.simulation.plan import Weather
from tests.simulation.world import Story, play
from tests.support.invariants import read_versions

USUAL, THOUSANDS = 150, 5000


def _play_lawfully(first: int, count: int) -> list[Story]:
    stories: list[Story] = []
    for seed in range(first, first + count):
        story = play(seed)
        if found := violations(story):
            pytest.fail("\n".join((*found, story.tell())), pytrace=False)
        stories.append(story)
    return stories


def test_every_schedule_comes_to_a_lawful_rest(request: pytest.FixtureRequest) -> None:
    count: int | None = request.config.getoption("--schedules", default=None)
    first: int | None = request.config.getoption("--first", default=None)
    stories = _play_lawfully(first or 0, count or USUAL)
    if count is None:
        _require_adventures(stories)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thousands_of_schedules_come_to_a_lawful_rest() -> None:
    _play_lawfully(1_000_000, THOUSANDS)


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(1_000_064, id="cancelled between the job's record and its node"),
        pytest.param(1_001_831, id="cancelled after its node was published and its claim given back"),
        pytest.param(
            2_001_923, id="cancelled between record and node, by a request whose next step was lost"
        ),
        pytest.param(1_001_566, id="published by a claim given up for dead, after the next was given back"),
    ],
)
def test_what_was_wrong_once_is_right(seed: int) -> None:
    _play_lawfully(seed, 1)


def test_a_schedule_ends_although_a_process_was_about_to_die() -> None:
    """Its death would have come while everything cleans up, and then it never would."""
    assert play(1_000_906).at_rest


def test_a_seed_is_one_schedule() -> None:
    """In this process, and in another whose hashes are salted otherwise."""
    stories = [play(seed) for seed in (5, 7, 11)]
    told = "".join(story.tell() for story in stories)
    assert any(story.mishaps for story in stories)
    assert "".join(play(seed).tell() for seed in (5, 7, 11)) == told
    script = (
        "from tests.simulation.world import play; "
        "print(*(play(seed).tell() for seed in (5, 7, 11)), sep='', end='')"
    )
    root = Path(__file__).parents[2]
    elsewhere = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env={"PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert elsewhere.stdout == told


def _require_adventures(stories: list[Story]) -> None:
    """The usual seeds see something of everything; otherwise they would prove little."""
    seen: Counter[str] = Counter()
    for story in stories:
        versions = read_versions(story.history, TENANT)
        seen[story.plan.weather] += 1
        seen["mishaps"] += story.mishaps
        seen["answered twice"] += sum(len(answers) > 1 for answers in story.promises.branches.values())
        seen["collected"] += sum("collected" in line for line in story.lines)
        seen["deaths"] += sum("dead, back" in line for line in story.lines)
        for history in versions.jobs.values():
            jobs = [job for _, job in history]
            seen[f"ended {jobs[-1].state}"] += 1
            seen["released"] += sum(job.state is JobState.QUEUED for job in jobs[1:])
            seen["taken over"] += sum(
                after.fence > before.fence and before.state is JobState.RUNNING
                for before, after in pairwise(jobs)
            )
    wanted = {
        "mishaps": 200,
        "answered twice": 50,
        "collected": 10,
        "deaths": 40,
        "released": 20,
        "taken over": 20,
    }
    ends = {f"ended {state}": 1 for state in (JobState.SUCCEEDED, JobState.CANCELLED)}
    weathers = {weather.value: 5 for weather in Weather}
    assert {
        what: seen[what] for what, least in (wanted | ends | weathers).items() if seen[what] < least
    } == {}
