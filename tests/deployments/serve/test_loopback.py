from __future__ import annotations

import grpc
import pytest
import ray
from ray.serve._private import replica

from deployments.serve.loopback import listen_where_the_node_is


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica, "add_port_to_grpc_server", replica.add_port_to_grpc_server)


@pytest.mark.parametrize(
    ("node", "bound"),
    [("127.0.0.1", "127.0.0.1:0"), ("::1", "[::1]:0"), ("10.1.2.3", "[::]:0"), ("2001:db8::1", "[::]:0")],
)
def test_a_replica_listens_on_loopback_where_its_node_does(
    monkeypatch: pytest.MonkeyPatch, node: str, bound: str
) -> None:
    asked: list[str] = []

    def add_port(server: grpc.Server, address: str) -> int:
        asked.append(address)
        return 4711

    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: node)
    monkeypatch.setattr(replica, "add_port_to_grpc_server", add_port)
    listen_where_the_node_is()
    listen_where_the_node_is()
    assert replica.add_port_to_grpc_server(None, "[::]:0") == 4711
    assert asked == [bound]
