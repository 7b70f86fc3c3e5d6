"""The read routes against bare FastAPI that answers with as many bytes: on the same Serve, and on uvicorn."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import httpx

from benchmarks.kit.child import REPOSITORY, Child
from benchmarks.kit.studio import Studio
from benchmarks.kit.summary import Summary
from benchmarks.kit.tables import Row, Table
from tests.support.ports import free_port

CLIENTS = (1, 8)
ROOT_S = 2.97  # of stereo float32 at 44.1 kHz: a megabyte
RANGE_BYTES = 64 * 1024
LARGE_CHAIN_NODES = 33
UVICORN_START_TIMEOUT_S = 30.0

BARE_PREFIX = "/bare"
BARE_APPLICATION: Mapping[str, Any] = {
    "name": "bare",
    "route_prefix": BARE_PREFIX,
    "import_path": "benchmarks.service.bare:build",
}

Cell = tuple[str, str, int]
"""Route, server, clients."""


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    path: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """A request of one server: `name` is the server's."""

    name: str
    question: Mapping[str, Any]


def measure(studio: Studio, rounds: int, seconds: float) -> Table:
    """In each round every route, with each number of clients, on one server after the other."""
    latencies_s: dict[Cell, list[float]] = defaultdict(list)
    rates: dict[Cell, list[float]] = defaultdict(list)
    busiest_client = 0.0
    sizes: dict[str, int] = {}
    with _uvicorn() as uvicorn_port, Child("benchmarks.kit.load") as client:
        routes = _routes(studio)
        for _ in range(rounds):
            for route in routes:
                size = sizes.setdefault(route.name, _size(client, studio.port, route))
                for clients in CLIENTS:
                    for target in _targets(route, size, studio.port, uvicorn_port):
                        ran = client.ask(**target.question, connections=clients, seconds=seconds)
                        cell = (route.name, target.name, clients)
                        latencies_s[cell] += ran["latencies_s"]
                        rates[cell].append(len(ran["latencies_s"]) / ran["wall_s"])
                        busiest_client = max(busiest_client, ran["cpu_s"] / ran["wall_s"])
    return Table(
        "reads",
        "Read routes against bare FastAPI",
        f"Requests/s (median of {rounds} rounds of {seconds:g} s) and latency in milliseconds (all rounds). "
        "`Segue`: through Serve's proxy. `bare, Serve`: a FastAPI route that answers with as many bytes from "
        "memory, deployed beside it on the same Serve. `bare, uvicorn`: the same route without Serve. "
        "`of bare` is Segue's requests/s over those of `bare, Serve`. One client process with keep-alive "
        f"connections; at its busiest it used {busiest_client:.0%} of a core.",
        [
            _row(route, sizes[route.name], clients, latencies_s, rates)
            for route in routes
            for clients in CLIENTS
        ],
    )


def _routes(studio: Studio) -> list[Route]:
    chain, large = studio.upload(ROOT_S), studio.upload(ROOT_S)
    node_id = studio.grow(chain, 2)[0]
    studio.commit(chain, node_id)
    studio.grow(large, LARGE_CHAIN_NODES - 1)
    path = f"/v1/chains/{chain['id']}"
    audio = f"{path}/nodes/{chain['root_id']}/audio"
    middle = 500_000
    part = {"Range": f"bytes={middle}-{middle + RANGE_BYTES - 1}"}
    return [
        Route("/livez", "/livez"),
        Route("chain of 3 nodes", path),
        Route(f"chain of {LARGE_CHAIN_NODES} nodes", f"/v1/chains/{large['id']}"),
        Route("node", f"{path}/nodes/{node_id}"),
        Route("spine of 2 nodes", f"{path}/spine"),
        Route("audio, 1 MB", audio),
        Route("audio, 64 KiB of it by Range", audio, status=206, headers=part),
    ]


def _size(client: Child, port: int, route: Route) -> int:
    question = _question(port, route.path, route.status, route.headers)
    size: int = client.ask(**question, connections=1, requests=1)["body_bytes"]
    return size


def _targets(route: Route, size: int, port: int, uvicorn_port: int) -> list[Target]:
    return [
        Target("Segue", _question(port, route.path, route.status, route.headers)),
        Target("bare, Serve", _question(port, f"{BARE_PREFIX}/bytes/{size}")),
        Target("bare, uvicorn", _question(uvicorn_port, f"/bytes/{size}")),
    ]


def _question(
    port: int, path: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return {"port": port, "method": "GET", "path": path, "status": status, "headers": dict(headers or {})}


def _row(
    route: Route,
    size: int,
    clients: int,
    latencies_s: Mapping[Cell, list[float]],
    rates: Mapping[Cell, list[float]],
) -> Row:
    row: dict[str, str | int | float] = {"route": route.name, "bytes": size, "clients": clients}
    for server in ("Segue", "bare, Serve", "bare, uvicorn"):
        cell = (route.name, server, clients)
        latency = Summary.in_ms(latencies_s[cell])
        row[f"{server}: req/s"] = median(rates[cell])
        row[f"{server}: p50"] = latency.median
        row[f"{server}: p95"] = latency.p95
    row["of bare"] = median(rates[route.name, "Segue", clients]) / median(
        rates[route.name, "bare, Serve", clients]
    )
    return row


@contextmanager
def _uvicorn() -> Iterator[int]:
    """Bare FastAPI on one plain uvicorn process; gives its port."""
    port = free_port()
    options = f"--host 127.0.0.1 --port {port} --no-access-log --log-level warning"
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "benchmarks.service.bare:app", *options.split()], cwd=REPOSITORY
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/bytes/1")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str) -> None:
    deadline_s = time.monotonic() + UVICORN_START_TIMEOUT_S
    while True:
        try:
            httpx.get(url, trust_env=False).raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)
        else:
            return
