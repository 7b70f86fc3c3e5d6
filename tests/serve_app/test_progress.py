"""The progress that clients are shown: a record's, and what was heard of its claim since."""

from __future__ import annotations

import pytest

from serve_app.http.fields import progress_of_job
from storage.domain.jobs import JobState, beat, claim, finish, release
from tests.storage.domain.builders import NOW, queued_job
from tests.storage.domain.test_jobs import claimed


def heard(fence: int, progress: float):
    return lambda job_id, of_fence: progress if of_fence == fence else None


@pytest.mark.parametrize(("recorded", "told", "shown"), [(0.2, 0.5, 0.5), (0.6, 0.5, 0.6)])
def test_whichever_is_further(recorded: float, told: float, shown: float) -> None:
    job = beat(claimed(queued_job()), 1, recorded, NOW)
    assert progress_of_job(job, heard(1, told)) == shown


def test_what_was_heard_of_a_claim_ends_with_it() -> None:
    first = claimed(queued_job())
    waiting = release(first, 1, NOW, count_attempt=True)
    second = claim(waiting, lease_s=60.0, max_attempts=3, stale=None, now=NOW)
    assert [progress_of_job(job, heard(1, 0.8)) for job in (first, waiting, second)] == [0.8, 0.0, 0.0]


def test_a_job_that_failed_stays_where_its_record_says() -> None:
    job = finish(beat(claimed(queued_job()), 1, 0.3, NOW), JobState.FAILED, NOW, fence=1)
    assert progress_of_job(job, heard(1, 0.9)) == 0.3
