"""What Serve says of an application, and what its replicas say of their load, as Segue shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.serve.schema import ServeInstanceDetails

from deployments.serve.loading import Loading
from deployments.telemetry.load import Load
from serve_app.system import cluster
from serve_app.system.cluster import ServeCluster
from serve_app.system.models import ModelState


def deployment(name: str, states: list[str], **other: Any) -> dict[str, Any]:
    return {
        "name": name,
        "status": "HEALTHY",
        "status_trigger": "UNSPECIFIED",
        "message": "",
        "deployment_config": {"name": name},
        "target_num_replicas": len(states),
        "required_resources": {"CPU": 1.0},
        "replicas": [
            {"replica_id": f"{name}-{number}", "state": state, "start_time_s": 0.0}
            for number, state in enumerate(states)
        ],
        **other,
    }


DEPLOYMENTS = {
    found["name"]: found
    for found in (
        deployment(
            "Generator",
            ["RUNNING", "STARTING", "RUNNING", "STOPPING"],
            status="UPSCALING",
            target_num_replicas=3,
        ),
        deployment("Generator-mock", ["STARTING"], status="UPDATING", message="to be scheduled"),
        deployment("Generator-broken", [], status="DEPLOY_FAILED", message="no weights"),
        deployment("JobRunner", ["RUNNING", "RUNNING"]),
        deployment("Ingress", ["RUNNING"]),
    )
}


@pytest.fixture(autouse=True)
def _serve(monkeypatch: pytest.MonkeyPatch) -> None:
    application = {
        "name": "segue",
        "route_prefix": "/",
        "docs_path": None,
        "status": "RUNNING",
        "message": "",
        "last_deployed_time_s": 0.0,
        "deployed_app_config": None,
        "source": "declarative",
        "external_scaler_enabled": False,
        "deployments": DEPLOYMENTS,
    }
    details = ServeInstanceDetails(proxies={}, applications={"segue": application})
    monkeypatch.setattr(cluster, "serve_details", lambda: details)


class Replicas:
    """A handle of the replicas that answer so."""

    def __init__(self, deployment_name: str, *answers: Mapping[str, Load]) -> None:
        self.deployment_name = deployment_name
        self._answers = answers

    def broadcast(self, method: str) -> Replicas:
        assert method == "load"
        return self

    async def results_async(self, *, timeout_s: float) -> list[Mapping[str, Load]]:
        if not self._answers:
            raise TimeoutError
        return list(self._answers)


async def test_a_deployment_is_shown_with_the_load_of_all_its_callers() -> None:
    runners = Replicas(
        "JobRunner",
        {"JobRunner": Load(2, 1), "Generator": Load(1, 1)},
        {"JobRunner": Load(3, 0), "Generator": Load(2, 1)},
    )
    shown = await ServeCluster("segue", [], [runners, Replicas("Ingress")]).deployments()
    generator = shown["Generator"]
    assert (generator.status, generator.target_replicas) == ("UPSCALING", 3)
    assert generator.replicas == {"RUNNING": 2, "STARTING": 1, "STOPPING": 1}
    assert (generator.resources, generator.load) == ({"CPU": 1.0}, Load(3, 2))
    assert shown["JobRunner"].load == Load(5, 1)
    assert shown["Ingress"].load is None


async def test_a_model_is_ready_with_its_first_replica() -> None:
    models = ["Generator", "Generator-mock", "Generator-broken", "Generator-new"]
    states = await ServeCluster("segue", models, []).model_states()
    assert {model: (state.status, state.replicas) for model, state in states.items()} == {
        "Generator": ("ready", 2),
        "Generator-mock": ("loading", 0),
        "Generator-broken": ("error", 0),
        "Generator-new": ("loading", 0),
    }
    # Serve's own message is a traceback.
    assert states["Generator-broken"].detail == "its replicas cannot be started; the server's log says why"


async def test_what_was_known_holds_while_the_controller_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> ServeInstanceDetails:
        raise RayActorError

    segue = ServeCluster("segue", ["Generator"], [])
    known = await segue.deployments()
    monkeypatch.setattr(cluster, "serve_details", nobody)
    assert await segue.deployments() == known
    assert (await segue.model_states())["Generator"].status == "ready"
    with pytest.raises(RayActorError):
        await ServeCluster("segue", [], []).deployments()


async def test_an_application_that_is_gone_has_nothing() -> None:
    assert await ServeCluster("another", [], []).deployments() == {}


async def test_a_model_that_loads_says_how_far_it_is_and_why_it_does_not() -> None:
    async def loading() -> Mapping[str, Loading]:
        return {
            "Generator": Loading(1, 2),  # a further replica: the model is ready all the same
            "Generator-mock": Loading(168_000_000, 1_969_000_000),
            "Generator-new": Loading(error="the hub cannot be reached"),
        }

    models = ["Generator", "Generator-mock", "Generator-new"]
    states = await ServeCluster("segue", models, [], loading).model_states()
    assert states["Generator"] == ModelState("ready", 2)
    assert states["Generator-mock"] == ModelState(
        "loading", 0, "is being loaded, 168 of 1969 MB", 168_000_000, 1_969_000_000
    )
    assert states["Generator-new"] == ModelState("error", 0, "the hub cannot be reached")
