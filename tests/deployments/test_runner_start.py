"""A runner whose constructor failed is deleted without a second error."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from configs.environment import load_settings
from deployments.serve import runner
from deployments.serve.runner import JobRunner


async def test_a_runner_that_could_not_start_is_deleted_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, closed = [], []

    class Store:
        def __init__(self) -> None:
            opened.append(self)

        async def close(self) -> None:
            closed.append(self)

    async def refused(*_: object, **__: object) -> None:
        raise ValueError("not a store for several writers")

    monkeypatch.setattr(runner, "open_store", lambda *_: Store())
    monkeypatch.setattr(runner, "check_store", refused)
    # No runner itself: Python, too, would call its asynchronous `__del__`.
    half: Any = SimpleNamespace()
    with pytest.raises(ValueError, match="several writers"):
        await JobRunner.__init__(half, load_settings({}, environ={}), (), {}, None)
    await JobRunner.__del__(half)
    assert set(closed) == set(opened)


async def test_one_that_has_not_even_begun_too() -> None:
    half: Any = SimpleNamespace()
    await JobRunner.__del__(half)
