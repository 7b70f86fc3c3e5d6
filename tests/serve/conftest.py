from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.serve.server import Server

SHORT_LEASES = {"SEGUE_JOBS__LEASE_S": "3", "SEGUE_JOBS__TAKEOVER_GRACE_S": "1", "SEGUE_JOBS__SWEEP_S": "1"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One real server for all tests of this folder: the tiny model on Ray Serve."""
    running = Server(tmp_path_factory.mktemp("server"), **SHORT_LEASES)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client
