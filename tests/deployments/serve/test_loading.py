"""Loading that is tried again, what is reported meanwhile, and what a handle makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError

from deployments.engines.common.errors import EngineBusy, ModelLoading, ModelUnavailable
from deployments.engines.common.hub.errors import HubError
from deployments.serve import handles as served
from deployments.serve.handles import ServedAnalyser, ServedGenerator
from deployments.serve.loading import REPORT_HOLDS_S, Loading, LoadingBoard, load_patiently


async def test_loading_is_tried_again_with_growing_pauses_until_it_succeeds() -> None:
    outcomes: list[Any] = [HubError("the hub cannot be reached"), ModelUnavailable("/secret/path"), "engine"]
    reports: list[Loading | None] = []
    pauses_s: list[float] = []

    async def load() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    async def sleep(pause_s: float) -> None:
        pauses_s.append(pause_s)

    assert await load_patiently(lambda: None, load, reports.append, sleep) == "engine"
    assert pauses_s == [5.0, 10.0]
    assert [report.error for report in reports if report is not None and report.error] == [
        "the hub cannot be reached",
        "its weights do not load; the server's log says why",
    ]
    assert reports[-1] is None


async def test_a_fault_of_the_program_is_not_tried_again() -> None:
    async def load() -> str:
        raise TypeError("a bug")

    with pytest.raises(TypeError):
        await load_patiently(lambda: None, load, lambda report: None)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (Loading(), "is being loaded"),
        (Loading(168_000_000, 1_969_000_000), "is being loaded, 168 of 1969 MB"),
        (Loading(5, 5), "is being loaded"),
        (Loading(0, 2_000_000, trouble="the hub is away"), "is being loaded, 0 of 2 MB (the hub is away)"),
        (Loading(error="the disk is full"), "cannot be loaded: the disk is full"),
    ],
)
def test_how_far_it_is_in_words(state: Loading, sentence: str) -> None:
    assert state.sentence == sentence


def test_a_board_forgets_replicas_that_report_no_more() -> None:
    now_s = 0.0
    board = LoadingBoard(lambda: now_s)
    board.report("Generator", "a", Loading(1, 10))
    board.report("Generator", "b", Loading(5, 10))
    board.report("Separator", "c", Loading(error="no"))
    assert board.read() == {"Generator": Loading(5, 10), "Separator": Loading(error="no")}
    board.report("Generator", "b", None)
    assert board.read()["Generator"] == Loading(1, 10)
    now_s = REPORT_HOLDS_S + 1
    assert board.read() == {}


class Response:
    """Of a deployment without a replica: waits until it is cancelled, or raises."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error
        self.is_cancelled = False

    def __await__(self) -> Any:
        return self._wait().__await__()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()

    def cancel(self) -> None:
        self.is_cancelled = True


class Handle:
    deployment_name = "Generator"

    def __init__(self, error: Exception | None = None) -> None:
        self.response = Response(error)

    @property
    def info(self) -> Handle:
        return self

    def remote(self, *_: Any) -> Response:
        return self.response


def _asked(*states: Loading | None) -> Any:
    left = list(states)

    async def ask() -> Mapping[str, Loading]:
        state = left.pop(0) if len(left) > 1 else left[0]
        return {} if state is None else {"Generator": state}

    return ask


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "LOOK_S", 0.01)


class TestAHandleWithoutAReplica:
    async def test_loading_that_fails_meanwhile_ends_the_wait(self) -> None:
        handle = Handle()
        failing = _asked(Loading(1, 10), Loading(1, 10), Loading(error="the hub has no such model"))
        with pytest.raises(ModelUnavailable, match="the model cannot be loaded: the hub has no such model"):
            await ServedGenerator(handle, failing).info()
        assert handle.response.is_cancelled

    async def test_loading_that_takes_long_is_said_with_its_bytes(self) -> None:
        loading = _asked(Loading(3_000_000, 9_000_000))
        with pytest.raises(ModelLoading, match="the model is being loaded, 3 of 9 MB"):
            await ServedGenerator(Handle(), loading, patience_s=0.05).info()

    async def test_it_is_not_waited_for_without_end_where_nothing_is_known(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(served, "LONGEST_WAIT_S", 0.05)
        with pytest.raises(EngineBusy, match="not ready yet"):
            await ServedGenerator(Handle(), _asked(None)).info()

    async def test_a_deployment_that_failed_is_an_unavailable_model(self) -> None:
        failed = DeploymentUnavailableError(DeploymentID("Generator", "segue"))
        with pytest.raises(ModelUnavailable, match="cannot be started"):
            await ServedGenerator(Handle(failed)).info()

    async def test_an_analyser_is_no_other(self) -> None:
        with pytest.raises(ModelUnavailable, match="no such model"):
            await ServedAnalyser(Handle(), _asked(Loading(error="no such model"))).analyse(None)  # type: ignore[arg-type]
