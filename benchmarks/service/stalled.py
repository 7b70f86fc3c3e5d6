"""What clients that stop reading a download cost: `python -m benchmarks.service.stalled [--quick]`."""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kit import machine
from benchmarks.kit.report import Report, options
from benchmarks.kit.studio import Studio
from benchmarks.kit.tables import Row, Table
from benchmarks.load.watcher import pss_mb
from benchmarks.service.uploads import form
from serve_app.http.flow_control import STALLED_S
from serve_app.http.proxy import ENVIRONMENT
from tests.serve.cluster import Cluster
from tests.serve.server import Server, local_deploy_file, only_generate

PACKAGES = ("ray", "starlette", "uvicorn")
UPLOAD_MB = 50
"""As 16-bit samples; the file that is downloaded has 32-bit ones."""

READ_FIRST_BYTES = 65_536
LOOK_S = 0.5
CUT_TIMEOUT_S = 3 * STALLED_S


@dataclass(frozen=True, slots=True)
class Case:
    readers: int
    is_controlled: bool
    watched_s: float


FULL = (Case(20, True, 20.0), Case(5, False, 20.0))
QUICK = (Case(3, True, 3.0),)


def main() -> None:
    arguments = options("benchmarks.service.stalled", "Measure clients that stop reading.").parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the `finally` clauses take the server down
    about = machine.describe(PACKAGES)
    rows = [_measured(case) for case in (QUICK if arguments.quick else FULL)]
    table = Table(
        "stalled",
        "Clients that stop reading",
        f"Each asks for one file and reads no more than its first {READ_FIRST_BYTES // 1024} KiB. PSS in MB of "
        f"Serve's proxy and of the ingress replica before, the most while they stay (every {LOOK_S:g} s), and the "
        "proxy's open connections to them then and at last. With flow control the proxy acknowledges what a "
        f"connection takes (`serve_app.http.flow_control`) and closes one that takes nothing for {STALLED_S:g} s. "
        "Without it, Serve's own behaviour. `make run` and the packages have it on.",
        rows,
    )
    Report("Clients that stop reading, measured", about, [table], arguments.quick).give(arguments.json)


def _measured(case: Case) -> Row:
    print(f"measuring: {case}", file=sys.stderr)
    content = local_deploy_file()
    only_generate(content)
    off = {} if case.is_controlled else dict.fromkeys(ENVIRONMENT, "")
    environment: Mapping[str, str] = {"MODEL": "tiny", **off}
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder:
        cluster = Cluster(Path(folder), num_cpus=4, num_gpus=0, **environment)
        server = Server(Path(folder), cluster=cluster, deploy_file=content)
        try:
            cluster.start()
            server.start()
            studio = Studio(server.port)
            path, size_bytes = _file(studio)
            before = _memory_mb(server)
            with _stalled(server.port, path, case.readers):
                most = before
                end_s = time.monotonic() + case.watched_s
                while time.monotonic() < end_s:
                    most = _largest(most, _memory_mb(server))
                    time.sleep(LOOK_S)
                open_then = _connections(server)
                if case.is_controlled:
                    _wait_until_cut(server)
                open_at_last = _connections(server)
                answers = studio.http.get("/livez").status_code
            studio.close()
            return {
                "flow control": "yes" if case.is_controlled else "no",
                "readers": case.readers,
                "file (MB)": size_bytes / 1e6,
                "proxy before": before[0],
                "proxy most": most[0],
                "ingress before": before[1],
                "ingress most": most[1],
                "open then": open_then,
                "open at last": open_at_last,
                "/livez then": answers,
            }
        finally:
            server.stop()
            cluster.stop()


def _file(studio: Studio) -> tuple[str, int]:
    boundary = uuid.uuid4().hex
    answer = studio.http.post(
        "/v1/chains",
        content=form(boundary, UPLOAD_MB),
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    ).raise_for_status()
    chain = answer.json()
    path = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}/audio"
    return path, int(studio.http.head(path).raise_for_status().headers["content-length"])


@contextmanager
def _stalled(port: int, path: str, readers: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(readers):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            left = READ_FIRST_BYTES
            while left > 0 and (received := client.recv(left)):
                left -= len(received)
        yield


def _memory_mb(server: Server) -> tuple[float, float]:
    titles = ("ray::ProxyActor", "ray::ServeReplica:segue:Ingress")
    proxy, ingress = (sum(map(pss_mb, server.pids(title))) for title in titles)
    return proxy, ingress


def _largest(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return max(one[0], other[0]), max(one[1], other[1])


def _connections(server: Server) -> int:
    """Connections to the server's port that are established, seen from its side."""
    port = f":{server.port:04X}"
    established = "01"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    columns = (line.split() for line in lines)
    # One is this benchmark's own, which stays open.
    return sum(each[1].endswith(port) and each[3] == established for each in columns) - 1


def _wait_until_cut(server: Server) -> None:
    end_s = time.monotonic() + CUT_TIMEOUT_S
    while _connections(server) > 0 and time.monotonic() < end_s:
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
