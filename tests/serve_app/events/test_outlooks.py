"""What runners foresee: the newest word of who knows best, for as long as it is good."""

from __future__ import annotations

from deployments.events.bus import JobForeseen, WorkForeseen
from serve_app.events.outlooks import GOOD_FOR_S, Outlooks
from serve_app.http.fields import Outlook


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def told(runner: str, *jobs: tuple[str, int | None, float | None]) -> WorkForeseen:
    return WorkForeseen(
        runner, tuple(JobForeseen("t", job_id, "c", "n", at, eta) for job_id, at, eta in jobs)
    )


def test_a_word_is_good_for_a_while_and_its_time_runs() -> None:
    clock = Clock()
    outlooks = Outlooks(clock)
    assert outlooks.of("one") == Outlook()
    assert [job.job_id for job in outlooks.take(told("r", ("one", None, 10.0), ("two", 1, None)))] == [
        "one",
        "two",
    ]
    clock.now_s += 3.0
    assert outlooks.of("one") == Outlook(None, 7.0)
    assert outlooks.of("two") == Outlook(1, None)
    clock.now_s += GOOD_FOR_S
    assert outlooks.of("one") == outlooks.of("two") == Outlook()


def test_only_what_was_not_expected_is_news() -> None:
    clock = Clock()
    outlooks = Outlooks(clock)
    outlooks.take(told("r", ("one", None, 100.0), ("two", 2, 200.0)))
    clock.now_s += 1.0
    assert outlooks.take(told("r", ("one", None, 99.0), ("two", 2, 205.0))) == []
    news = outlooks.take(told("r", ("one", None, 50.0), ("two", 1, 199.0)))
    assert [job.job_id for job in news] == ["one", "two"]
    assert outlooks.take(told("r", ("one", None, None))) != []
    assert outlooks.take(told("r", ("one", None, None))) == []
    assert outlooks.of("two") == Outlook()  # its runner speaks of it no more


def test_who_works_on_a_job_knows_better_than_who_has_it_in_the_queue() -> None:
    outlooks = Outlooks(Clock())
    outlooks.take(told("waits", ("one", 4, 400.0)))
    outlooks.take(told("waits too", ("one", 2, 200.0)))
    assert outlooks.of("one") == Outlook(2, 200.0)
    outlooks.take(told("works", ("one", None, 20.0)))
    assert outlooks.take(told("waits", ("one", 3, 300.0))) == []
    assert outlooks.of("one") == Outlook(None, 20.0)
    outlooks.take(told("works"))
    assert outlooks.of("one") == Outlook(2, 200.0)
