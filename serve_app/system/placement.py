"""Whether the cluster can hold an application, looked at while Serve builds it: Serve itself would wait for
resources without end, and say so only in its log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.serve import Deployment
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ServeApplicationSchema

from serve_app.system.cluster import serve_details
from serve_app.system.demands import Demand, demand, shortages

WAYS_OUT = """To go on, do one of these:
- ask for less: `ray_actor_options: {num_gpus: 0}` in the deploy file has a model run on the CPU
- tell Ray of what it does not see, or of logical GPUs to try things with: `ray start --num-gpus=N --num-cpus=N`
- wait for nodes that are still to come: `cluster: {wait_for_resources: true}` in the settings of the deploy
  file, or SEGUE_CLUSTER__WAIT_FOR_RESOURCES=true in the environment of the cluster"""

# Serve's own logger: an application is built in one of Serve's processes, where no other is set up.
logger = logging.getLogger("ray.serve")


class InsufficientResources(RayServeException):  # type: ignore[misc]
    """The cluster as it is cannot hold the application. Serve shows errors of its own kind without a traceback."""


def require_resources(
    deployments: Sequence[Deployment], is_built_of: Callable[[ServeApplicationSchema], bool], *, wait: bool
) -> None:
    """Refuse what the cluster cannot hold, or with `wait` say in the log what is waited for.

    The options in a deploy file do not reach the code that builds the application, so they are read from the
    application that Serve builds just now, the one that `is_built_of` recognises. There is none, and nothing
    is refused, where `serve run module:build` builds before it connects, and in tests. Serve builds again only
    for other code or arguments: options that change in a running application are not looked at.
    Raises InsufficientResources.
    """
    if not ray.is_initialized():
        return
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for config in _deployed():
        missing = shortages(demands(deployments, config), nodes) if is_built_of(config) else []
        if missing and wait:
            logger.warning("Segue waits for resources, as its settings say: %s", "; ".join(missing))
        elif missing:
            raise InsufficientResources(_refusal(missing, nodes))


def _deployed() -> list[ServeApplicationSchema]:
    """The deploy files' applications; none where Serve does not run."""
    try:
        applications = serve_details().applications.values()
    except RayServeException:
        return []
    return [found.deployed_app_config for found in applications if found.deployed_app_config is not None]


def demands(deployments: Sequence[Deployment], config: ServeApplicationSchema) -> list[Demand]:
    """Those of the code's deployments, with the options that the deploy file puts in place of the code's."""
    overrides = {
        options["name"]: options for options in config.model_dump(exclude_unset=True).get("deployments", [])
    }
    return [
        demand(
            deployment.name,
            {"ray_actor_options": deployment.ray_actor_options, **overrides.get(deployment.name, {})},
        )
        for deployment in deployments
    ]


def _refusal(missing: Sequence[str], nodes: Sequence[Mapping[str, Any]]) -> str:
    there = ", ".join(f"{sum(node.get(name, 0.0) for node in nodes):g} {name}" for name in ("CPU", "GPU"))
    heading = f"This cluster (nodes: {len(nodes)}, with {there}) cannot hold what is deployed:"
    return "\n".join([heading, *(f"- {sentence}" for sentence in missing), WAYS_OUT])
