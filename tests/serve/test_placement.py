"""`serve_config.yaml` where there are no GPUs: it is refused and told why, or waits if that is wanted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.serve.cluster import Cluster, wait_until
from tests.serve.server import cluster_deploy_file
from tests.support.ports import free_port

# What is refused, and in which words, without a cluster: tests/serve_app/system/test_placement.py.
pytestmark = [pytest.mark.slow, pytest.mark.serve, pytest.mark.torch, pytest.mark.timeout(600)]

DEPLOY_TIMEOUT_S = 120.0

Record = dict[str, Any]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"), num_cpus=6)
    try:
        made.start(dashboard=True)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def port() -> int:
    """One for all: Serve keeps that of its first deployment."""
    return free_port()


@pytest.fixture
def deploy_file(port: int) -> Record:
    content = cluster_deploy_file()
    content["http_options"].update(host="127.0.0.1", port=port)
    return content


def test_it_is_refused_and_told_why(cluster: Cluster, deploy_file: Record, tmp_path: Path) -> None:
    deploy(cluster, deploy_file, tmp_path)
    segue = wait_until(lambda: failed(cluster), DEPLOY_TIMEOUT_S, "it is refused")
    for part in (
        "nodes: 1, with 6 CPU, 0 GPU",
        "Generator asks for 1 CPU and 0.25 GPU for each replica, and no node has more than 0 GPU",
        "num_gpus: 0",
        "ray start --num-gpus",
        "wait_for_resources: true",
    ):
        assert part in segue["message"]
    assert "Traceback" not in segue["message"]
    assert segue["deployments"] == {}


def test_it_waits_for_a_node_where_that_is_wanted(
    cluster: Cluster, deploy_file: Record, port: int, tmp_path: Path
) -> None:
    deploy_file["applications"][0]["args"]["settings"]["cluster"] = {"wait_for_resources": True}
    deploy(cluster, deploy_file, tmp_path)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:

        def answers(path: str, status: int) -> bool:
            try:
                return http.get(path).status_code == status
            except httpx.HTTPError:
                return False

        wait_until(lambda: answers("/v1/gpu", 200), DEPLOY_TIMEOUT_S, "the ingress answers")
        now = http.get("/v1/gpu").json()
        assert now["gpus_total"] == 0
        assert now["deployments"]["Generator"]["replicas"] == {"STARTING": 1}
        assert answers("/readyz", 503)
        cluster.add_node(num_cpus=1, num_gpus=1)
        wait_until(lambda: answers("/readyz", 200), DEPLOY_TIMEOUT_S, "it is ready")
        assert http.get("/v1/gpu").json()["gpus_free"] == 0.75


def deploy(cluster: Cluster, deploy_file: Record, folder: Path) -> None:
    """`serve deploy` as an operator does it."""
    path = folder / "deploy.yaml"
    path.write_text(yaml.safe_dump(deploy_file))
    serve(cluster, "deploy", str(path))


def failed(cluster: Cluster) -> Record | None:
    """What `serve status` says of Segue, once it was refused."""
    status: Record = yaml.safe_load(serve(cluster, "status"))["applications"].get("segue", {})
    return status if status.get("status") == "DEPLOY_FAILED" else None


def serve(cluster: Cluster, *arguments: str) -> str:
    program = str(Path(sys.executable).with_name("serve"))
    done = subprocess.run(
        [program, *arguments], env=dict(cluster.environment), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
