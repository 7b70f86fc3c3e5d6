"""What a deploy file asks of a cluster, and what of it the cluster cannot give.

Ray waits without end for a replica that fits nowhere, because a node may still come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Resources = Mapping[str, float]
"""Amounts by Ray's names: CPU, GPU, memory (bytes), an operator's own."""

# Ray computes with ten-thousandths.
SMALLEST_AMOUNT = 1e-4


@dataclass(frozen=True, slots=True)
class Demand:
    """A deployment as it starts: `replicas` of them (0 where it begins at none), `resources` for each."""

    deployment: str
    resources: Resources
    replicas: int


def demand(deployment: str, options: Mapping[str, Any]) -> Demand:
    """What a deployment's options ask for, named as in a deploy file. Left out is what Serve defaults to.

    Placement groups are left to Ray: nothing is known of them here.
    """
    if options.get("placement_group_bundles"):
        return Demand(deployment, {}, 0)
    actor = options.get("ray_actor_options") or {}
    cpus = actor.get("num_cpus")
    asked = {
        "CPU": 1.0 if cpus is None else float(cpus),
        "GPU": float(actor.get("num_gpus") or 0.0),
        "memory": float(actor.get("memory") or 0.0),
        **{name: float(amount) for name, amount in (actor.get("resources") or {}).items()},
    }
    if accelerator := actor.get("accelerator_type"):
        asked[f"accelerator_type:{accelerator}"] = SMALLEST_AMOUNT
    return Demand(deployment, {name: amount for name, amount in asked.items() if amount}, _replicas(options))


def _replicas(options: Mapping[str, Any]) -> int:
    """How many a deployment starts with."""
    fixed = options.get("num_replicas")
    scaling = options.get("autoscaling_config")
    if isinstance(fixed, int):
        return fixed
    if not scaling:
        return 1
    initial = scaling.get("initial_replicas")
    return int(scaling.get("min_replicas", 1) if initial is None else initial)


def shortages(demands: Sequence[Demand], nodes: Sequence[Resources]) -> list[str]:
    """What cannot be placed, one sentence each; empty if nothing is known to be in the way.

    A replica has to fit on one node, and all that are there from the start into the cluster. What else runs
    there is not looked at: it may end.
    """
    found = [
        f"{wanted.deployment} asks for {_amounts(wanted.resources)} for each replica, and {_best(wanted, nodes)}"
        for wanted in demands
        if not any(_fits(wanted.resources, node) for node in nodes)
    ]
    if found:
        return found
    for name in sorted({name for wanted in demands for name in wanted.resources}):
        askers = [wanted for wanted in demands if wanted.replicas and name in wanted.resources]
        asked = sum(wanted.replicas * wanted.resources[name] for wanted in askers)
        there = sum(node.get(name, 0.0) for node in nodes)
        if asked > there + SMALLEST_AMOUNT / 2:
            terms = ", ".join(
                f"{wanted.deployment} {wanted.replicas} × {wanted.resources[name]:g}" for wanted in askers
            )
            found.append(
                f"the first replicas ask for {asked:g} {name} ({terms}), and the cluster has {there:g}"
            )
    return found


def _fits(resources: Resources, node: Resources) -> bool:
    return all(amount <= node.get(name, 0.0) + SMALLEST_AMOUNT / 2 for name, amount in resources.items())


def _best(wanted: Demand, nodes: Sequence[Resources]) -> str:
    """Why no node takes it: the amounts that no single node has, or else that none has all of them together."""
    most = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in wanted.resources}
    lacking = {name: most[name] for name, amount in wanted.resources.items() if amount > most[name]}
    if lacking:
        return f"no node has more than {_amounts(lacking)}"
    return "no node has all of that"


def _amounts(resources: Resources) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())
