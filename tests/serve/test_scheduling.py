"""`serve_config.yaml` on logical GPUs: shares, bursts and bounds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.cluster import Cluster, wait_until
from tests.serve.server import Server, cluster_deploy_file, deployment_options
from tests.serve.test_journey import finished, upload

pytestmark = [pytest.mark.slow, pytest.mark.serve, pytest.mark.torch, pytest.mark.timeout(900)]

GPUS = 2
SHARE = 0.25
ANALYSER_SHARE = 0.1
FOR_GENERATORS = GPUS - ANALYSER_SHARE
"""One analyser is always there."""
SCALING_TIMEOUT_S = 180.0
MOST_TAKES = 8


Record = dict[str, Any]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Twelve logical CPUs: an ingress may scale as well. Leases outlast a machine that is too busy: what is
    tried again here was killed."""
    made = Cluster(
        tmp_path_factory.mktemp("cluster"),
        num_cpus=12,
        num_gpus=GPUS,
        SEGUE_JOBS__LEASE_S="60",
    )
    try:
        made.start()
        yield made
    finally:
        made.stop()


def quick_deploy_file(downscale_delay_s: float) -> Record:
    """The cluster's own file, but that replicas go after a shorter time of quiet."""
    content = cluster_deploy_file()
    scaling = deployment_options(content, "Generator")["autoscaling_config"]
    scaling["downscale_delay_s"] = downscale_delay_s
    return content


@contextmanager
def serving(cluster: Cluster, folder: Path, deploy_file: Record) -> Iterator[httpx.Client]:
    server = Server(folder, cluster=cluster, deploy_file=deploy_file)
    try:
        server.start()
        with httpx.Client(base_url=server.url, timeout=60) as http:
            yield http
    finally:
        server.stop()


def capacity(http: httpx.Client) -> Record:
    answer = http.get("/v1/gpu")
    assert answer.status_code == 200, answer.text
    found: Record = answer.json()
    return found


def running(generator: Record) -> int:
    count: int = generator["replicas"].get("RUNNING", 0)
    return count


def takes(http: httpx.Client, chain: Record, count: int, duration_s: float) -> list[Record]:
    """The nodes of that many new takes."""
    wanted = {"parent_id": chain["root_id"], "duration_s": duration_s, "takes": count}
    answer = http.post(f"/v1/chains/{chain['id']}/nodes", json=wanted)
    assert answer.status_code == 202, answer.text
    nodes: list[Record] = answer.json()["nodes"]
    return nodes


def assert_each_made_at_the_first_attempt(http: httpx.Client, chain: Record, nodes: list[Record]) -> None:
    ready = finished(http, chain["id"], [node["id"] for node in nodes], SCALING_TIMEOUT_S)
    assert {node["status"] for node in ready} == {"ready"}
    jobs = [http.get(f"/v1/jobs/{node['job_id']}").json() for node in nodes]
    assert {(job["state"], job["attempt"]) for job in jobs} == {("succeeded", 1)}


def wait_until_at_rest(http: httpx.Client) -> None:
    """One replica, and all of the other's shares given back."""

    def at_rest() -> bool:
        now = capacity(http)
        return now["deployments"]["Generator"]["replicas"] == {"RUNNING": 1} and now[
            "gpus_free"
        ] == pytest.approx(FOR_GENERATORS - SHARE)

    wait_until(at_rest, SCALING_TIMEOUT_S, "one replica is left", lambda: str(capacity(http)))


def test_a_burst_brings_replicas_that_take_their_share_and_go_again(cluster: Cluster, tmp_path: Path) -> None:
    deploy_file = quick_deploy_file(downscale_delay_s=5)
    scaling = deployment_options(deploy_file, "Generator")["autoscaling_config"]
    enough = scaling["max_replicas"] * scaling["target_ongoing_requests"]
    with serving(cluster, tmp_path, deploy_file) as http:
        quiet = capacity(http)
        assert (quiet["gpus_total"], quiet["gpus_free"]) == (GPUS, pytest.approx(FOR_GENERATORS - SHARE))
        generator = quiet["deployments"]["Generator"]
        assert generator["resources"] == {"CPU": 1.0, "GPU": SHARE}
        assert (generator["target_replicas"], generator["replicas"]) == (1, {"RUNNING": 1})
        assert quiet["jobs"]["unfinished"] == 0

        chain, asked, most_queued = upload(http), list[Record](), 0
        began_s, requested_s = time.monotonic(), None
        while True:
            assert time.monotonic() - began_s < SCALING_TIMEOUT_S, capacity(http)
            now = capacity(http)
            generator = now["deployments"]["Generator"]
            if now["jobs"]["unfinished"] < enough:
                asked += takes(http, chain, MOST_TAKES, 8.0)
            if requested_s is None and generator["target_replicas"] >= 3:
                requested_s = time.monotonic() - began_s
            most_queued = max(most_queued, generator["queued"] or 0)
            # What is free and who runs are not read at the same moment.
            if running(generator) >= 3 and now["gpus_free"] == pytest.approx(
                FOR_GENERATORS - SHARE * sum(generator["replicas"].values())
            ):
                break
            time.sleep(0.1)
        print(
            f"three replicas: requested after {requested_s:.1f} s, ready after {time.monotonic() - began_s:.1f} s"
        )
        assert most_queued > 0
        assert_each_made_at_the_first_attempt(http, chain, asked)
        wait_until_at_rest(http)
        rested = capacity(http)
        assert rested["jobs"] == {"unfinished": 0, "waiting": 0}
        assert (
            rested["deployments"]["Generator"]["ongoing"],
            rested["deployments"]["Generator"]["queued"],
        ) == (0, 0)


@pytest.fixture(scope="module")
def tight(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Up to two replicas with one take each, so that it is known where takes are; few requests at once."""
    deploy_file = quick_deploy_file(downscale_delay_s=1)
    generator = deployment_options(deploy_file, "Generator")
    generator["max_ongoing_requests"] = 1
    generator["autoscaling_config"].update(max_replicas=2, target_ongoing_requests=2)
    deployment_options(deploy_file, "Ingress").update(max_ongoing_requests=6, max_queued_requests=2)
    with serving(cluster, tmp_path_factory.mktemp("tight"), deploy_file) as http:
        yield http


def test_a_take_outlives_the_replica_that_is_taken_away(tight: httpx.Client) -> None:
    chain = upload(tight)
    asked = takes(tight, chain, 3, 120.0)

    def begun() -> list[Record]:
        return [n for n in asked if tight.get(f"/v1/jobs/{n['job_id']}").json()["progress"] > 0]

    kept = wait_until(lambda: found if len(found := begun()) == 2 else [], SCALING_TIMEOUT_S, "two begin")
    for node in asked:
        if node not in kept:
            tight.delete(f"/v1/jobs/{node['job_id']}")

    # Two takes want one replica: one of the two that work is taken away.
    def works_in_a_replica_that_stops() -> bool:
        generator = capacity(tight)["deployments"]["Generator"]
        return generator["ongoing"] == 2 and generator["replicas"] == {"RUNNING": 1, "STOPPING": 1}

    wait_until(works_in_a_replica_that_stops, SCALING_TIMEOUT_S, "one stops", lambda: str(capacity(tight)))
    assert_each_made_at_the_first_attempt(tight, chain, kept)
    wait_until_at_rest(tight)


def test_what_is_too_much_is_refused_at_once(tight: httpx.Client) -> None:
    chain = upload(tight)
    with ExitStack() as streams, ThreadPoolExecutor(8) as clients:
        for _ in range(6):
            answer = streams.enter_context(tight.stream("GET", f"/v1/chains/{chain['id']}/events"))
            assert answer.status_code == 200
        asking = [clients.submit(tight.get, "/v1/chains") for _ in range(8)]
        refused = next(as_completed(asking, timeout=60)).result()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        streams.close()
        answers = [client.result(timeout=60) for client in asking]
    # What found room in the queue was only late.
    assert {answer.status_code for answer in answers} == {200, 429}
