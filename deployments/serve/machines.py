"""Ray's nodes as the machines of runners."""

from __future__ import annotations

import asyncio
import logging

import ray

logger = logging.getLogger("segue.cluster")


class RayNodes:
    """Satisfies `Machines`. A node's id is new with each start of Ray there."""

    def __init__(self) -> None:
        self.here: str = ray.get_runtime_context().get_node_id()

    async def has_gone(self, machine: str) -> bool:
        try:
            nodes = await asyncio.to_thread(ray.nodes)
        except Exception as error:  # the head is away; whatever is wrong, no sweep ends by it
            logger.warning("the cluster's nodes are not known: %r", error)
            return False
        return not any(node["NodeID"] == machine and node["Alive"] for node in nodes)
