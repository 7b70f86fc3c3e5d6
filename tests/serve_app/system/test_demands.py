"""What is refused can never be placed, and what can be placed is never refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.system.demands import Demand, demand, shortages

NODE = {"CPU": 4.0, "GPU": 1.0, "memory": 8e9, "node:10.0.0.1": 1.0}


def gpu(fraction: float, replicas: int = 1, name: str = "Generator") -> Demand:
    return Demand(name, {"GPU": fraction}, replicas)


@pytest.mark.parametrize(
    ("options", "resources", "replicas"),
    [
        ({}, {"CPU": 1.0}, 1),
        ({"num_replicas": 3, "ray_actor_options": {"num_cpus": 0, "num_gpus": 0.25}}, {"GPU": 0.25}, 3),
        ({"ray_actor_options": {"num_cpus": 2, "num_gpus": None}}, {"CPU": 2.0}, 1),
        ({"num_replicas": "auto"}, {"CPU": 1.0}, 1),
        ({"autoscaling_config": {"max_replicas": 4}}, {"CPU": 1.0}, 1),
        ({"num_replicas": "auto", "autoscaling_config": {"min_replicas": 2}}, {"CPU": 1.0}, 2),
        ({"autoscaling_config": {"min_replicas": 0}}, {"CPU": 1.0}, 0),
        ({"autoscaling_config": {"min_replicas": 1, "initial_replicas": 3}}, {"CPU": 1.0}, 3),
        (
            {"ray_actor_options": {"num_cpus": 1, "memory": 5e8, "resources": {"studio": 1}}},
            {"CPU": 1.0, "memory": 5e8, "studio": 1.0},
            1,
        ),
        (
            {"ray_actor_options": {"num_cpus": 0, "num_gpus": 1, "accelerator_type": "H100"}},
            {"GPU": 1.0, "accelerator_type:H100": 1e-4},
            1,
        ),
        ({"placement_group_bundles": [{"GPU": 2}], "num_replicas": 2}, {}, 0),
    ],
)
def test_the_options_of_a_deploy_file(
    options: dict[str, Any], resources: dict[str, float], replicas: int
) -> None:
    assert demand("Generator", options) == Demand("Generator", resources, replicas)


def test_what_fits_is_not_refused() -> None:
    demands = [Demand("Ingress", {"CPU": 1.0}, 2), gpu(0.25, 2), gpu(0.5, 1, "Separator")]
    assert shortages(demands, [NODE]) == []


def test_a_replica_that_fits_on_no_node_is_named_with_what_there_is() -> None:
    (sentence,) = shortages(
        [Demand("Ingress", {"CPU": 1.0}, 1), Demand("Generator", {"CPU": 1.0, "GPU": 0.25}, 1)],
        [{"CPU": 4.0}],
    )
    assert (
        sentence == "Generator asks for 1 CPU and 0.25 GPU for each replica, and no node has more than 0 GPU"
    )


def test_two_nodes_do_not_make_one() -> None:
    assert shortages([gpu(2.0)], [NODE, NODE]) == [
        "Generator asks for 2 GPU for each replica, and no node has more than 1 GPU"
    ]
    split = [{"CPU": 8.0}, {"GPU": 1.0}]
    assert shortages([Demand("Generator", {"CPU": 1.0, "GPU": 1.0}, 1)], split) == [
        "Generator asks for 1 CPU and 1 GPU for each replica, and no node has all of that"
    ]


def test_the_first_replicas_have_to_fit_together() -> None:
    demands = [gpu(0.5, 2), gpu(1.0, 1, "Separator"), gpu(0.25, 0, "Analyser")]
    assert shortages(demands, [NODE, NODE]) == []
    assert shortages(demands, [NODE]) == [
        "the first replicas ask for 2 GPU (Generator 2 × 0.5, Separator 1 × 1), and the cluster has 1"
    ]


def test_a_deployment_that_begins_at_none_has_to_fit_all_the_same() -> None:
    assert shortages([gpu(0.5, 0)], [NODE]) == []
    assert len(shortages([gpu(0.5, 0)], [{"CPU": 4.0}])) == 1


def test_thirds_of_a_gpu_add_up_to_one() -> None:
    assert shortages([gpu(0.3333, 3)], [NODE]) == []
    assert shortages([gpu(0.1, 10)], [NODE]) == []


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["CPU", "GPU", "studio"]), st.integers(1, 20)), min_size=1, max_size=4
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_has_been_placed_is_never_refused(placed: list[list[tuple[str, int]]]) -> None:
    """Each node holds replicas that together are all it has, in tenths of a resource."""
    demands = [
        Demand(f"{number}-{index}", {name: tenths / 10}, 1)
        for number, replicas in enumerate(placed)
        for index, (name, tenths) in enumerate(replicas)
    ]
    nodes: list[Mapping[str, float]] = []
    for replicas in placed:
        totals: dict[str, int] = {}
        for name, tenths in replicas:
            totals[name] = totals.get(name, 0) + tenths
        nodes.append({name: tenths / 10 for name, tenths in totals.items()})
    assert shortages(demands, nodes) == []
