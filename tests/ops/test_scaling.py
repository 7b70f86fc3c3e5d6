"""How the deploy files scale: their own numbers, walked."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.ops.files import OPS, ROOT, deploy_file_settings, documents

SERVE_DEFAULTS = {"metrics_interval_s": 10.0, "look_back_period_s": 30.0, "upscale_delay_s": 30.0}
"""Of `ray.serve.config.AutoscalingConfig`."""

ASKED_FOR_WITHIN_S = 3.0
CONTROL_LOOP_S = 0.1
LONGEST_DRAIN_S = 300.0


def _of_kubernetes() -> Any:
    (service,) = (each for each in documents("kubernetes/rayservice.yaml") if each["kind"] == "RayService")
    return yaml.safe_load(service["spec"]["serveConfigV2"])


FILES = {
    "local": yaml.safe_load((ROOT / "configs/local.yaml").read_text()),
    "cluster": yaml.safe_load((ROOT / "serve_config.yaml").read_text()),
    "one machine": yaml.safe_load((OPS / "one_machine.yaml").read_text()),
    "kubernetes": _of_kubernetes(),
}
DEPLOYMENTS = [
    pytest.param(each, id=f"{name}-{each['name']}")
    for name, file in FILES.items()
    for each in file["applications"][0]["deployments"]
]
SCALED = [
    pytest.param(*each.values, id=each.id) for each in DEPLOYMENTS if "autoscaling_config" in each.values[0]
]


@pytest.mark.filterwarnings("ignore")  # of Ray's own imports
def test_the_defaults_are_serves() -> None:
    from ray.serve.config import AutoscalingConfig

    defaults = AutoscalingConfig()
    assert {name: getattr(defaults, name) for name in SERVE_DEFAULTS} == SERVE_DEFAULTS


@pytest.mark.parametrize("deployment", SCALED)
def test_replicas_are_asked_for_within_seconds_of_a_burst(deployment: dict[str, Any]) -> None:
    """A handle reports after at most an interval; the mean is all of the burst's once the window is; then the
    controller waits for the delay, and looks in its loop."""
    scaling = SERVE_DEFAULTS | deployment["autoscaling_config"]
    latest_s = sum(scaling[name] for name in SERVE_DEFAULTS) + CONTROL_LOOP_S
    assert latest_s <= ASKED_FOR_WITHIN_S + CONTROL_LOOP_S


@pytest.mark.parametrize("deployment", SCALED)
def test_replicas_go_late_and_with_time_to_end_their_work(deployment: dict[str, Any]) -> None:
    scaling = deployment["autoscaling_config"]
    assert scaling["downscale_delay_s"] >= 60
    assert 60 <= deployment["graceful_shutdown_timeout_s"] <= LONGEST_DRAIN_S
    # One that is always there is full before another is asked for: none is added that has nothing to do.
    assert scaling["target_ongoing_requests"] < deployment["max_ongoing_requests"]
    assert scaling["min_replicas"] < scaling["max_replicas"]


@pytest.mark.parametrize("name", FILES)
def test_an_ingress_refuses_by_itself_before_serve_holds_requests_back(name: str) -> None:
    """What asks for no key is answered while tenants hold all that they may."""
    file = FILES[name]
    deployments = file["applications"][0]["deployments"]
    (ingress,) = (each for each in deployments if each["name"] == "Ingress")
    assert deploy_file_settings(file).http.open_requests < ingress["max_ongoing_requests"]
