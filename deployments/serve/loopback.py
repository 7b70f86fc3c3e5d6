"""Replicas on loopback, where the cluster is.

Ray Serve 2.60 opens a gRPC port in every replica, on all interfaces (`ray/serve/_private/replica.py`, `[::]:0`),
and has no setting for the address. A node whose own address is loopback is reached from this machine only.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import ray
from ray.serve._private import replica

ALL_INTERFACES = "[::]:"


def listen_where_the_node_is() -> None:
    """From now on this process's replica listens on the node's address, if that is loopback. Again is no change.

    To be called in a deployment's constructor: Serve opens the port after it.
    """
    node = ray.util.get_node_ip_address()
    if not ip_address(node).is_loopback or isinstance(replica.add_port_to_grpc_server, _OnNode):
        return
    replica.add_port_to_grpc_server = _OnNode(replica.add_port_to_grpc_server, node)


class _OnNode:
    """Ray's function, with another address for all interfaces."""

    def __init__(self, add_port: Any, node: str) -> None:
        self._add_port = add_port
        self._host = f"[{node}]" if ":" in node else node

    def __call__(self, server: Any, address: str) -> int:
        if address.startswith(ALL_INTERFACES):
            address = f"{self._host}:{address.removeprefix(ALL_INTERFACES)}"
        port: int = self._add_port(server, address)
        return port
