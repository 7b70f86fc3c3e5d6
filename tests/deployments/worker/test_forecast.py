"""When work will be done: what is foreseen of queues, and what is honestly not known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.worker.forecast import Outlook, Pace, Task, Underway, foresee

LINE = "generate/tiny"
TEN = Task(LINE, 10.0)


def at_work(progress: float, seconds: float, task: Task = TEN) -> Underway:
    """Begun at 0, so far after `seconds`."""
    return Underway(task).progressed(0.0, 0.0).progressed(progress, seconds)


def test_a_job_ends_when_its_own_speed_says() -> None:
    [outlook], _ = foresee([at_work(0.25, 5.0)], [], {}, 1, now_s=5.0)
    assert outlook == Outlook(None, pytest.approx(15.0))


def test_what_stands_still_is_not_about_to_end() -> None:
    etas = [foresee([at_work(0.5, 5.0)], [], {}, 1, now_s)[0][0].eta_s or 0.0 for now_s in (5.0, 10.0, 60.0)]
    assert etas == sorted(etas)


def test_nothing_is_known_before_anything_was_measured() -> None:
    running, queued = foresee([Underway(TEN), at_work(0.001, 5.0)], [TEN, None], {}, 2, now_s=5.0)
    assert [outlook.eta_s for outlook in (*running, *queued)] == [None] * 4
    assert [outlook.queue_position for outlook in queued] == [1, 2]


def test_the_queue_ends_one_after_the_other_at_the_speed_of_those_before() -> None:
    paces = {LINE: Pace(2.0)}
    [first], queued = foresee([at_work(0.5, 10.0)], [TEN, Task(LINE, 5.0)], paces, 1, now_s=10.0)
    assert first.eta_s == pytest.approx(10.0)
    assert queued == [Outlook(1, pytest.approx(30.0)), Outlook(2, pytest.approx(40.0))]


def test_the_first_job_of_all_tells_of_those_behind_it() -> None:
    _, [queued] = foresee([at_work(0.5, 10.0)], [TEN], {}, 1, now_s=10.0)
    assert queued.eta_s == pytest.approx(30.0)


def test_a_model_that_works_on_several_at_once_does_so_with_the_queue() -> None:
    paces = {LINE: Pace(1.0, lanes=2)}
    running, queued = foresee([], [TEN, TEN, TEN], paces, 16, now_s=0.0)
    assert running == []
    assert [outlook.eta_s for outlook in queued] == [10.0, 10.0, 20.0]


def test_a_claimed_job_without_progress_waits_for_a_lane() -> None:
    paces = {LINE: Pace(1.0, lanes=1)}
    [moving, claimed], _ = foresee([at_work(0.5, 5.0), Underway(TEN)], [], paces, 16, now_s=5.0)
    assert (moving.eta_s, claimed.eta_s) == (pytest.approx(5.0), pytest.approx(15.0))


def test_what_waits_for_a_place_behind_something_unknown_is_unknown_too() -> None:
    unknown = Task("export")
    _, queued = foresee([Underway(unknown)], [TEN], {LINE: Pace(1.0)}, 1, now_s=5.0)
    assert queued == [Outlook(1, None)]
    _, queued = foresee([Underway(unknown)], [TEN], {LINE: Pace(1.0)}, 2, now_s=5.0)
    assert queued == [Outlook(1, 10.0)]


TASKS = st.builds(Task, st.sampled_from(["a", "b", "c"]), st.one_of(st.none(), st.floats(0.1, 100.0)))
UNDERWAY = st.builds(
    Underway,
    TASKS,
    progress=st.floats(0.0, 1.0),
    begun_s=st.one_of(st.none(), st.floats(0.0, 9.0)),
)
PACES = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.builds(Pace, st.one_of(st.none(), st.floats(0.01, 10.0)), st.integers(1, 4)),
)


@given(
    st.lists(UNDERWAY, max_size=6),
    st.lists(st.one_of(st.none(), TASKS), max_size=8),
    PACES,
    st.integers(1, 8),
)
def test_whatever_there_is_every_place_is_counted_and_no_time_is_nonsense(
    running: list[Underway], waiting: list[Task | None], paces: dict[str, Pace], places: int
) -> None:
    begun, queued = foresee(running, waiting, paces, places, now_s=10.0)
    assert [outlook.queue_position for outlook in begun] == [None] * len(running)
    assert [outlook.queue_position for outlook in queued] == list(range(1, len(waiting) + 1))
    assert all(outlook.eta_s is None or 0.0 <= outlook.eta_s < 1e6 for outlook in (*begun, *queued))
