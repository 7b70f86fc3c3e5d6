"""Ray's nodes, as far as runners look at them; Ray itself is tried in `tests/serve`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import RaySystemError

from deployments.serve.machines import RayNodes


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> RayNodes:
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "here"))
    return RayNodes()


async def test_a_node_that_is_dead_or_of_another_cluster_has_gone(
    nodes: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [{"NodeID": "here", "Alive": True}, {"NodeID": "dead", "Alive": False}]
    monkeypatch.setattr(ray, "nodes", lambda: known)
    assert nodes.here == "here"
    assert [await nodes.has_gone(name) for name in ("here", "dead", "of before")] == [False, True, True]


async def test_while_the_head_is_away_no_node_has_gone(
    nodes: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Any:
        raise RaySystemError("the head is away")

    monkeypatch.setattr(ray, "nodes", away)
    assert not await nodes.has_gone("dead")
