"""A tenant's state: from any number on, the changes make the state that is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.events import tenant_state
from serve_app.events.frames import ChainSummary
from serve_app.events.tenant_state import TenantState
from storage.domain.jobs import Job, JobKind, JobState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IDS = st.sampled_from("abcd")


def chain(chain_id: str, version: int) -> ChainSummary:
    return ChainSummary(
        id=chain_id,
        title="",
        version=version,
        updated_at="",
        created_at=chain_id,
        root_id="r",
        sample_rate_hz=None,
        channels=None,
        spine=[],
        undo=None,
        redo=None,
        deleted=False,
        duration_s=0.0,
        node_count=1,
        unfinished_count=0,
    )


def job(job_id: str, state: JobState, fence: int) -> Job:
    made = Job(id=job_id, kind=JobKind.EXPORT, tenant="t", created_at=NOW, updated_at=NOW, request_sha256="")
    return replace(made, state=state, fence=fence)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), IDS, st.integers(1, 9)),
        st.tuples(st.just("drop"), IDS, st.integers(0, 9)),
        st.tuples(st.just("job"), IDS, st.sampled_from(JobState)),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(EVENTS)
def test_from_any_number_on_the_changes_make_the_state_that_is(events: list[tuple[str, str, object]]) -> None:
    state = TenantState()
    held: dict[int, tuple[dict[str, int], dict[str, JobState]]] = {0: ({}, {})}
    for fence, (what, name, value) in enumerate(events):
        match what:
            case "put":
                state.put_chain(chain(name, int(str(value))))
            case "drop":
                state.drop_chain(name, int(str(value)))
            case _:
                state.put_job(job(name, JobState(str(value)), fence))
        held[state.number] = _held(state)
    for number, (chains, jobs) in held.items():
        changes = state.since(number)
        assert changes is not None
        after = {**chains, **{each.id: each.version for each in changes.chains}}
        assert {name: at for name, at in after.items() if name not in changes.deleted} == _held(state)[0]
        working = {**jobs, **{each.id: each.state for each in changes.jobs}}
        assert {name: at for name, at in working.items() if not at.is_finished} == _held(state)[1]
        assert changes.is_empty == (number == state.number)
    assert state.since(state.number + 1) is None


def _held(state: TenantState) -> tuple[dict[str, int], dict[str, JobState]]:
    return (
        {each.id: each.version for each in state.chains},
        {name: each.state for name, each in state.jobs.items()},
    )


def test_what_is_old_never_comes_back() -> None:
    state = TenantState()
    state.put_chain(chain("a", 3))
    state.put_chain(chain("a", 2))
    assert state.version_of("a") == 3
    state.drop_chain("a", 4)
    state.put_chain(chain("a", 3))
    assert state.chains == []
    state.put_job(job("j", JobState.SUCCEEDED, 1))
    state.put_job(job("j", JobState.RUNNING, 1))
    assert not state.jobs


def test_ends_that_are_forgotten_make_everybody_begin_anew() -> None:
    state = TenantState()
    state.put_chain(chain("first", 1))
    before = state.number
    for count in range(tenant_state.REMEMBERED_ENDS + 1):
        state.put_chain(chain(f"c{count}", 1))
        state.drop_chain(f"c{count}", 2)
    assert state.since(before) is None
    assert state.since(state.number) is not None
