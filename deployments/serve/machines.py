"""Ray's nodes as the machines of runners."""

from __future__ import annotations

import asyncio
import logging

import ray
from ray.exceptions import RayError

logger = logging.getLogger("segue.cluster")


class RayNodes:
    """Satisfies `Machines`. A node's id is new with each start of Ray there."""

    def __init__(self) -> None:
        self.here: str = ray.get_runtime_context().get_node_id()

    async def has_gone(self, machine: str) -> bool:
        try:
            nodes = await asyncio.to_thread(ray.nodes)
        except (RayError, RuntimeError) as error:  # the head is away
            logger.warning("the cluster's nodes are not known: %r", error)
            return False
        return not any(node["NodeID"] == machine and node["Alive"] for node in nodes)
