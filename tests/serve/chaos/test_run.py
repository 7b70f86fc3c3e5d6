"""A short run of the real thing; `make chaos` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serve.chaos.places import immune, in_bucket, in_folder
from tests.serve.chaos.run import Run
from tests.serve.chaos.schedule import Strike, draw_schedule
from tests.serve.chaos.stand import Victim

pytestmark = [pytest.mark.slow, pytest.mark.serve, pytest.mark.torch]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("place_in", [in_folder, in_bucket])
def test_whoever_is_killed_everything_accepted_ends_once(tmp_path: Path, place_in: type) -> None:
    with place_in(tmp_path) as place:
        told: list[str] = []
        report = Run(place, tmp_path, seed=11, users=4, tell=told.append).play(
            draw_schedule(11, 20, without=immune(place))
        )
    assert report.kills.total() == 20
    assert report.is_clean, "\n".join((*told, *map(str, report.findings), *report.users_lost))
    assert report.jobs.total() > 20


@pytest.mark.timeout(1200)
def test_a_new_version_deployed_under_load_loses_no_job_and_every_stream_resumes(tmp_path: Path) -> None:
    with in_folder(tmp_path) as place:
        told: list[str] = []
        schedule = [Strike(10.0, Victim.VERSION, 0.0), Strike(10.0, Victim.VERSION, 0.0)]
        report = Run(place, tmp_path, seed=12, users=4, tell=told.append).play(schedule)
    assert report.is_clean, "\n".join((*told, *map(str, report.findings), *report.users_lost))
    assert report.jobs.total() > 5
