"""A Ray cluster of several nodes on this machine, with ports, processes and a folder of its own, on loopback."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from serve_app.http import proxy
from tests.serve.session import Ended, Session
from tests.support.ports import free_port

NODE_START_TIMEOUT_S = 240.0
NODE_STARTS = 3
OBJECT_STORE_BYTES = 200_000_000

# Ray has a second node on one machine only by way of the machine's network address, and then listens on all of
# them. Nobody has a password for this cluster: it stays on loopback.
_RAY_ON_LOOPBACK = """
import os
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"
from ray._private import services
from ray.scripts import scripts
services.get_node_ip_address = lambda address=None: "127.0.0.1"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
scripts.main()
"""

RAY_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    **proxy.ENVIRONMENT,
}
"""A cluster that asks for no token, stays on loopback and reports to nobody."""


class Node:
    """One node of a cluster: a raylet and its workers, and in the head the cluster's own state."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self.name = name

    def pids(self, title: str = "") -> list[int]:
        """Its processes of one title: `ray::ServeReplica:segue:Generator`."""
        return self._session.pids(title)

    def kill(self) -> None:
        """As a power cut does."""
        self._session.kill()


class Cluster:
    """A head node with logical resources, and as many nodes besides as are added.

    `environment` is what all processes of the cluster see, on top of this one's: Serve builds applications
    inside the cluster, so settings of the environment have to be there.
    """

    def __init__(self, folder: Path, *, num_cpus: int = 4, num_gpus: int = 0, **environment: str) -> None:
        self._folder = folder
        self._num_cpus = num_cpus
        self._num_gpus = num_gpus
        self._port, self._dashboard_port = free_port(), free_port()
        self._numbers = count()
        # Ray makes Unix sockets below its folder, whose paths must be short.
        self._ray_folder = Path("/tmp") / f"segue-{os.getpid()}-{self._port}"
        self.address = f"127.0.0.1:{self._port}"
        self.data = folder / "data"
        self.nodes: list[Node] = []
        self.environment: Mapping[str, str] = {
            **os.environ,
            **RAY_ENVIRONMENT,
            "RAY_ADDRESS": self.address,
            "RAY_DASHBOARD_ADDRESS": f"http://127.0.0.1:{self._dashboard_port}",
            "RAY_TMPDIR": str(self._ray_folder),
            "SEGUE_STORAGE": f"file:{self.data}",
            **environment,
        }

    def start(self, *, dashboard: bool = False) -> None:
        """The head node. `serve deploy` and `serve status` need the dashboard; `serve run` does not."""
        self._ray_folder.mkdir(exist_ok=True)
        self._start_node(
            "--head",
            f"--port={self._port}",
            f"--ray-client-server-port={free_port()}",
            f"--temp-dir={self._ray_folder}",
            f"--include-dashboard={str(dashboard).lower()}",
            f"--dashboard-port={self._dashboard_port}",
            f"--num-cpus={self._num_cpus}",
            f"--num-gpus={self._num_gpus}",
        )

    def add_node(
        self, *, num_cpus: int, num_gpus: int = 0, resources: Mapping[str, float] | None = None
    ) -> Node:
        """Another node, once it has joined."""
        return self._start_node(
            f"--address={self.address}",
            f"--num-cpus={num_cpus}",
            f"--num-gpus={num_gpus}",
            f"--resources={json.dumps(dict(resources or {}))}",
        )

    def kill_node(self, node: Node) -> None:
        """SIGKILL for all of its processes at once."""
        node.kill()
        self.nodes.remove(node)

    def pids(self, title: str = "") -> list[int]:
        """The processes of one title on all nodes."""
        return [pid for node in self.nodes for pid in node.pids(title)]

    def copy_logs(self, folder: Path) -> None:
        """Those of all its processes since it was started, which go with it otherwise; nothing before that."""
        logs = self._ray_folder / "session_latest" / "logs"
        if logs.is_dir():
            shutil.copytree(logs, folder, dirs_exist_ok=True)

    def stop(self) -> None:
        """Nothing that is worth keeping is in a cluster: all of it is killed."""
        for node in reversed(self.nodes):
            node.kill()
        self.nodes.clear()
        shutil.rmtree(self._ray_folder, ignore_errors=True)

    def _start_node(self, *options: str) -> Node:
        """On a busy machine Ray may give a node up before it is there: then once more."""
        for _ in range(NODE_STARTS - 1):
            with suppress(Ended):
                return self._start_node_once(*options)
        return self._start_node_once(*options)

    def _start_node_once(self, *options: str) -> Node:
        name = f"node-{next(self._numbers)}"
        log = self._folder / f"{name}.log"
        command = (
            *(sys.executable, "-c", _RAY_ON_LOOPBACK, "start", "--block", *options),
            "--node-ip-address=127.0.0.1",
            f"--dashboard-agent-listen-port={free_port()}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
            "--include-log-monitor=false",
            "--disable-usage-stats",
        )
        session = Session(command, self.environment, log)

        def is_up() -> bool:
            session.require_alive()
            return "Ray runtime started" in log.read_text(errors="replace")

        try:
            wait_until(is_up, NODE_START_TIMEOUT_S, f"{name} is up", session.log_tail)
        except BaseException:
            session.kill()
            raise
        self.nodes.append(node := Node(session, name))
        return node


def wait_until(
    holds: Callable[[], Any], timeout_s: float, what: str, tell: Callable[[], str] = lambda: ""
) -> Any:
    """Poll until `holds` gives something true; gives it back. Raises TimeoutError with what `tell` says."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        result = holds()
        if result:
            return result
        time.sleep(0.1)
    raise TimeoutError(f"after {timeout_s:g} s it did not come true that {what}\n{tell()}")
