"""Processes die in the middle of a generation; the job ends once, and clients see it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.conftest import SHORT_LEASES
from tests.serve.server import Server
from tests.serve.test_journey import finished, upload

pytestmark = [pytest.mark.serve, pytest.mark.torch]


def begin(http: httpx.Client, duration_s: float = 30.0) -> tuple[dict[str, Any], dict[str, Any]]:
    """A take that is being generated: (chain, the answer to the branch)."""
    chain = upload(http)
    wanted = {"parent_id": chain["root_id"], "duration_s": duration_s, "seed": 3}
    branched = http.post(f"/v1/chains/{chain['id']}/nodes", json=wanted).json()
    deadline_s = time.monotonic() + 60
    while http.get(f"/v1/jobs/{branched['job_id']}").json()["progress"] < 0.05:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return chain, branched


def assert_done_once(http: httpx.Client, chain: dict[str, Any], branched: dict[str, Any]) -> dict[str, Any]:
    node_id = branched["nodes"][0]["id"]
    (node,) = finished(http, chain["id"], [node_id])
    assert node["status"] == "ready", node
    nodes = http.get(f"/v1/chains/{chain['id']}").json()["nodes"]
    assert [found["id"] for found in nodes] == [chain["root_id"], node_id]
    job = http.get(f"/v1/jobs/{branched['job_id']}").json()
    assert job["state"] == "succeeded"
    return job


def no_markers(server: Server) -> bool:
    return not [path for path in Path(server.data, "tenants/local/active").glob("*") if path.is_file()]


@pytest.mark.parametrize("deployment", ["Generator", "JobRunner"])
def test_sigkill_in_mid_generation(http: httpx.Client, server: Server, deployment: str) -> None:
    chain, branched = begin(http)
    since = http.get(f"/v1/chains/{chain['id']}").json()["version"]

    server.kill(deployment)

    job = assert_done_once(http, chain, branched)
    assert job["attempt"] == 2
    with httpx.stream(
        "GET",
        f"{server.url}/v1/chains/{chain['id']}/events",
        headers={"Last-Event-ID": str(since)},
        timeout=30,
    ) as events:  # a client that was away hears of the end
        for line in events.iter_lines():
            if line.startswith("data: "):
                node = json.loads(line.removeprefix("data: "))
                break
    assert (node["id"], node["status"]) == (branched["nodes"][0]["id"], "ready")
    server.wait_until(lambda: no_markers(server), 15, "the job's marker is gone")


def test_events_come_without_the_hub(http: httpx.Client, server: Server) -> None:
    chain = upload(http)
    with httpx.stream("GET", f"{server.url}/v1/chains/{chain['id']}/events", timeout=60) as events:
        lines = events.iter_lines()
        for line in lines:
            if line.startswith("data: "):
                break
        server.kill("EventHub")
        wanted = {"parent_id": chain["root_id"], "duration_s": 1.0}
        http.post(f"/v1/chains/{chain['id']}/nodes", json=wanted)
        seen = []
        for line in lines:
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")).get("status"))
                if seen[-1] == "ready":
                    break
    assert seen[-1] == "ready"


def test_a_power_cut_loses_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path, **SHORT_LEASES)
    server.start()
    try:
        with httpx.Client(base_url=server.url, timeout=60) as http:
            chain, running = begin(http, 20.0)
            wanted = {"parent_id": chain["root_id"], "duration_s": 2.0, "takes": 6}
            queued = http.post(f"/v1/chains/{chain['id']}/nodes", json=wanted).json()
        server.kill_everything()
        server.start()
        with httpx.Client(base_url=server.url, timeout=60) as http:
            node_ids = [node["id"] for node in (*running["nodes"], *queued["nodes"])]
            nodes = finished(http, chain["id"], node_ids)
            assert [node["status"] for node in nodes] == ["ready"] * 7
            assert len(http.get(f"/v1/chains/{chain['id']}").json()["nodes"]) == 8
            server.wait_until(lambda: no_markers(server), 15, "all markers are gone")
    finally:
        server.stop()
