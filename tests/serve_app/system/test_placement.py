"""While it is built, an application is held against the cluster, with what the deploy file says of it."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from ray import serve
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ServeApplicationSchema

from serve_app.system import placement
from serve_app.system.demands import Demand
from serve_app.system.placement import InsufficientResources, demands, require_resources


class Anything:
    pass


GENERATOR = serve.deployment(name="Generator", ray_actor_options={"num_cpus": 0.5})(Anything)
HUB = serve.deployment(name="EventHub", ray_actor_options={"num_cpus": 0.1})(Anything)


def config(*deployments: dict[str, Any]) -> ServeApplicationSchema:
    return ServeApplicationSchema.model_validate(
        {"name": "segue", "import_path": "serve_app.app:build", "deployments": list(deployments)}
    )


GPU_CONFIG = config(
    {
        "name": "Generator",
        "ray_actor_options": {"num_cpus": 1, "num_gpus": 0.25},
        "autoscaling_config": {"min_replicas": 2, "max_replicas": 4},
    }
)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Those of a cluster on which Serve builds the application of GPU_CONFIG."""
    alive: list[dict[str, Any]] = [{"Alive": True, "Resources": {"CPU": 4.0}}]
    applications = {
        "segue": SimpleNamespace(deployed_app_config=GPU_CONFIG),
        "by-hand": SimpleNamespace(deployed_app_config=None),
    }
    monkeypatch.setattr(placement.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(placement.ray, "nodes", lambda: alive)
    monkeypatch.setattr(placement, "serve_details", lambda: SimpleNamespace(applications=applications))
    return alive


def test_the_deploy_file_speaks_over_the_code() -> None:
    assert demands([HUB, GENERATOR], GPU_CONFIG) == [
        Demand("EventHub", {"CPU": 0.1}, 1),
        Demand("Generator", {"CPU": 1.0, "GPU": 0.25}, 2),
    ]
    assert demands([GENERATOR], config()) == [Demand("Generator", {"CPU": 0.5}, 1)]
    assert demands([GENERATOR], config({"name": "Generator", "num_replicas": 3})) == [
        Demand("Generator", {"CPU": 0.5}, 3)
    ]


def test_what_cannot_be_held_is_refused_with_what_there_is_and_what_to_do(
    nodes: list[dict[str, Any]],
) -> None:
    nodes.append({"Alive": False, "Resources": {"CPU": 4.0, "GPU": 8.0}})
    with pytest.raises(InsufficientResources) as refusal:
        require_resources([HUB, GENERATOR], lambda found: found is GPU_CONFIG, wait=False)
    text = str(refusal.value)
    assert text.startswith(
        "This cluster (nodes: 1, with 4 CPU, 0 GPU) cannot hold what is deployed:\n- Generator"
    )
    for way in ("num_gpus: 0", "ray start --num-gpus", "SEGUE_CLUSTER__WAIT_FOR_RESOURCES"):
        assert way in text


def test_what_is_waited_for_is_in_the_log(
    nodes: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("ray.serve"), "propagate", True)
    with caplog.at_level(logging.WARNING, "ray.serve"):
        require_resources([HUB, GENERATOR], lambda found: found is GPU_CONFIG, wait=True)
    assert "waits for resources" in caplog.text
    assert "Generator asks for 1 CPU and 0.25 GPU for each replica" in caplog.text


def test_what_fits_and_what_is_anothers_passes(nodes: list[dict[str, Any]]) -> None:
    require_resources([GENERATOR], lambda _: False, wait=False)
    nodes.append({"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}})
    require_resources([HUB, GENERATOR], lambda found: found is GPU_CONFIG, wait=False)


def test_where_nothing_is_deployed_there_is_nothing_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Any:
        raise RayServeException("no Serve here")

    require_resources([GENERATOR], lambda _: True, wait=False)
    monkeypatch.setattr(placement.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(placement.ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 1.0}}])
    monkeypatch.setattr(placement, "serve_details", nobody)
    require_resources([GENERATOR], lambda _: True, wait=False)
