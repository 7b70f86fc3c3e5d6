"""Takes of several requests go through one model together, on a real server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any

import httpx
import pytest

from deployments.telemetry import catalog
from deployments.telemetry.dashboard import OF_SERVE
from tests.serve.server import Server
from tests.serve.test_journey import finished, upload

pytestmark = [pytest.mark.serve, pytest.mark.torch]

WANTED: Sequence[Mapping[str, Any]] = [
    {"seed": 1, "duration_s": 8.0, "prompt": "bells"},
    {"seed": 2, "duration_s": 9.0, "prompt": "bells", "cfg_coef": 1.0},
    {"seed": 3, "duration_s": 7.0, "prompt_duration_s": 2.0},
    {"seed": 4, "duration_s": 8.0, "mode": "text", "prompt": "a slow waltz"},
    {"seed": 5, "duration_s": 8.5, "temperature": 0.7, "top_k": 20},
    {"seed": 6, "duration_s": 8.0, "top_k": 0, "top_p": 0.8},
    {"seed": 7, "duration_s": 7.5, "cfg_coef": 6.0},
    {"seed": 8, "duration_s": 8.0, "prompt": "drums"},
]


def branch(http: httpx.Client, chain: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, str]:
    """The new node and its job."""
    answer = http.post(f"/v1/chains/{chain['id']}/nodes", json={"parent_id": chain["root_id"], **wanted})
    assert answer.status_code == 202, answer.text
    return answer.json()["nodes"][0]["id"], answer.json()["job_id"]


def sha256_of(http: httpx.Client, chain: Mapping[str, Any], node_id: str) -> str:
    (node,) = finished(http, chain["id"], [node_id])
    assert node["status"] == "ready", node
    return str(node["audio"]["sha256"])


def test_eight_requests_that_overlap_are_each_as_alone(http: httpx.Client) -> None:
    chain = upload(http)
    alone = [sha256_of(http, chain, branch(http, chain, wanted)[0]) for wanted in WANTED]

    with ThreadPoolExecutor(len(WANTED)) as clients:
        together = list(clients.map(lambda wanted: branch(http, chain, wanted), WANTED))
    assert [sha256_of(http, chain, node_id) for node_id, _ in together] == alone

    jobs = [http.get(f"/v1/jobs/{job_id}").json() for _, job_id in together]
    began, ended = (
        [datetime.fromisoformat(job[moment]) for job in jobs] for moment in ("started_at", "finished_at")
    )
    under_way = [
        sum(start <= moment < end for start, end in zip(began, ended, strict=True)) for moment in began
    ]
    assert max(under_way) >= 4, "they did not overlap"
    assert {job["attempt"] for job in jobs} == {1}


def test_a_take_whose_generator_died_is_the_same_in_the_end(http: httpx.Client, server: Server) -> None:
    chain = upload(http)
    wanted = {"seed": 31, "duration_s": 30.0, "prompt": "strings"}
    expected = sha256_of(http, chain, branch(http, chain, wanted)[0])

    node_id, job_id = branch(http, chain, wanted)
    server.wait_until(
        lambda: http.get(f"/v1/jobs/{job_id}").json()["progress"] > 0.05, 60, "the take is under way"
    )
    server.kill("Generator")
    assert sha256_of(http, chain, node_id) == expected
    job = http.get(f"/v1/jobs/{job_id}").json()
    assert (job["state"], job["attempt"]) == ("succeeded", 2)


def test_a_take_may_be_longer_than_the_models_window(http: httpx.Client) -> None:
    chain = upload(http)
    (node,) = finished(http, chain["id"], [branch(http, chain, {"duration_s": 45.0, "seed": 1})[0]])
    assert node["status"] == "ready"
    assert node["audio"]["samples"] == 45 * node["audio"]["sample_rate_hz"]


def test_what_the_dashboard_shows_is_on_rays_metrics_port(http: httpx.Client, server: Server) -> None:
    chain = upload(http)
    url = f"/v1/chains/{chain['id']}"
    node_id, _ = branch(http, chain, {"duration_s": 4.0})
    sha256_of(http, chain, node_id)
    _, unwanted = branch(http, chain, {"duration_s": 60.0})
    with http.stream("GET", f"/v1/jobs/{unwanted}/events") as events:  # until it works, and notices come
        frames = (line for line in events.iter_lines() if line.startswith("data:"))
        assert len(list(islice(frames, 5))) == 5
    assert http.delete(f"/v1/jobs/{unwanted}").status_code == 200
    http.post(f"{url}/nodes/{node_id}/commit")
    assert http.post(f"{url}/export", json={"format": "wav"}).status_code in (200, 202)

    def exported() -> set[str]:
        lines = [line for text in server.metrics() for line in text.splitlines() if not line.startswith("#")]
        return {line.partition("{")[0] for line in lines if line.startswith("ray_se")}

    # Nothing is lost, collected, in conflict or made again while all is well.
    rare = {
        catalog.JOB_LEASE_LOSSES, catalog.JOB_TAKEOVERS, catalog.COLLECTED_OBJECTS, catalog.COLLECTED_BYTES,
        catalog.STORAGE_RETRIES, catalog.STORAGE_CONFLICTS, catalog.MODEL_LOAD_FAILURES, catalog.GPU_SECONDS,
    }  # fmt: skip
    wanted = {series for metric in catalog.METRICS if metric not in rare for series in metric.exported}
    missing = wanted | {*OF_SERVE}

    def is_complete() -> bool:
        httpx.get(f"{server.url}/readyz", timeout=10)  # an ingress that was killed has not been asked yet
        missing.difference_update(exported())
        return not missing

    with suppress(TimeoutError):
        server.wait_until(is_complete, 120, "all are there")
    assert missing == set()
    known = {series for metric in catalog.METRICS for series in metric.exported}
    assert {name for name in exported() if name.startswith("ray_segue_")} <= known
