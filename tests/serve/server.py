"""A real Segue as an operator runs it: `serve run` on a deploy file, in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.serve.cluster import RAY_ENVIRONMENT, Cluster, wait_until
from tests.serve.session import REPOSITORY, Session, kill
from tests.support.ports import free_port

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0
DEPLOY_TIMEOUT_S = 300.0
SERVE = str(Path(sys.executable).with_name("serve"))


class Server:
    """A deploy file, `configs/local.yaml` with the tiny models by default, on a free port of loopback.

    It has a Ray cluster, data and temporary folder of its own, or is deployed to `cluster`, which then has the
    environment and the data. `deploy_file` is the content of one; `applications` are deployed beside Segue:
    entries of its list. `environment` is for a cluster of its own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cluster: Cluster | None = None,
        deploy_file: Mapping[str, Any] | None = None,
        applications: Sequence[Mapping[str, Any]] = (),
        **environment: str,
    ) -> None:
        if cluster is not None and environment:
            raise ValueError("the environment of a server is its cluster's")
        self._folder = folder
        self._cluster = cluster
        self._deploy_file = dict(deploy_file or local_deploy_file())
        self._applications = applications
        self._environment = environment
        self._session: Session | None = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = folder / "data" if cluster is None else cluster.data
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.log = folder / "serve.log"
        # Ray makes Unix sockets below its folder, whose paths must be short.
        self._ray_folder = Path("/tmp") / f"segue-{os.getpid()}-{self.port}"

    def start(self) -> None:
        """Raises TimeoutError if it is not ready in time."""
        deploy_file = self._write(self._deploy_file)
        self._session = Session([SERVE, "run", str(deploy_file)], self._environment_of_all(), self.log)
        self.wait_until(self.is_ready, START_TIMEOUT_S, "the server is ready")

    def deploy(self, deploy_file: Mapping[str, Any]) -> None:
        """A new version, by `serve deploy`, which returns before the replicas are replaced. The cluster needs its
        dashboard. Raises CalledProcessError with what the command wrote."""
        self._deploy_file = dict(deploy_file)
        subprocess.run(
            [SERVE, "deploy", str(self._write(self._deploy_file))],
            env=dict(self._environment_of_all()),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=DEPLOY_TIMEOUT_S,
            check=True,
        )

    def _write(self, deploy_file: Mapping[str, Any]) -> Path:
        config = {
            **deploy_file,
            "http_options": {**deploy_file["http_options"], "host": "127.0.0.1", "port": self.port},
            "applications": [*deploy_file["applications"], *map(dict, self._applications)],
        }
        path = self._folder / "deploy.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    def stop(self) -> None:
        """As Ctrl-C does."""
        if self._session is not None:
            self._session.interrupt(STOP_TIMEOUT_S)
            self._session = None
        shutil.rmtree(self._ray_folder, ignore_errors=True)

    def terminate(self, timeout_s: float) -> None:
        """As Kubernetes and systemd do: SIGTERM for `serve run` alone; what is left after it is killed."""
        if self._session is not None:
            self._session.terminate(timeout_s)
            self._session = None

    def kill_everything(self) -> None:
        """As a power cut does: every process at once, by pid. Not those of a cluster that was there before."""
        if self._session is not None:
            self._session.kill()
            self._session = None

    def has_ended(self) -> bool:
        """Whether `serve run` is over, by itself or not begun."""
        return self._session is None or self._session.has_ended()

    def kill(self, deployment: str) -> int:
        """SIGKILL one replica of a deployment, the oldest; returns its pid. Raises IndexError if there is none."""
        pid = self.replicas(deployment)[0]
        kill(pid)
        return pid

    def replicas(self, deployment: str) -> list[int]:
        """The pids of a deployment's replicas, wherever they run."""
        return self.pids(f"ray::ServeReplica:segue:{deployment}")

    def pids(self, title: str) -> list[int]:
        """The processes of this server's cluster that have this title, whatever they are at."""
        if self._cluster is not None:
            return self._cluster.pids(title)
        return self._session.pids(title) if self._session is not None else []

    def wait_until(self, holds: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """Poll until `holds` gives something true; gives it back. Raises TimeoutError with the log's end."""
        session = self._session

        def holds_while_alive() -> Any:
            if session is not None:
                session.require_alive()
            return holds()

        tell = session.log_tail if session is not None else lambda: ""
        return wait_until(holds_while_alive, timeout_s, what, tell)

    def metrics(self) -> list[str]:
        """What Prometheus would read from each node of a cluster of its own."""
        discovery = self._ray_folder / "ray" / "prom_metrics_service_discovery.json"
        targets = [target for group in json.loads(discovery.read_text()) for target in group["targets"]]
        return [text for target in targets if (text := _told_by(f"http://{target}/metrics"))]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def _environment_of_all(self) -> Mapping[str, str]:
        if self._cluster is not None:
            return self._cluster.environment
        self._ray_folder.mkdir(exist_ok=True)
        return {
            **os.environ,
            **RAY_ENVIRONMENT,
            "RAY_ADDRESS": "local",
            "RAY_TMPDIR": str(self._ray_folder),
            "SEGUE_STORAGE": f"file:{self.data}",
            "SEGUE_TOOLS__FOLDER": str(self.shared),
            **self._environment,
        }


def _told_by(url: str) -> str:
    """Nothing where nobody listens yet."""
    try:
        return httpx.get(url, timeout=10).text
    except httpx.HTTPError:
        return ""


def local_deploy_file() -> dict[str, Any]:
    """The content of `configs/local.yaml`, for the tiny models: what tests look at is not the music. To be changed
    at will."""
    content: dict[str, Any] = yaml.safe_load((REPOSITORY / "configs" / "local.yaml").read_text())
    content["applications"][0]["args"]["settings"] = {
        "models": {"served": ["tiny"]},
        "separation": {"served": ["tiny"]},
    }
    return content


def cluster_deploy_file() -> dict[str, Any]:
    """The content of `serve_config.yaml`, for the tiny model. It makes one take at a time: in batches it is
    quicker than one runner can feed it, and would never need a second replica."""
    content: dict[str, Any] = yaml.safe_load((REPOSITORY / "serve_config.yaml").read_text())
    at_once = deployment_options(content, "Generator")["max_ongoing_requests"]
    models = {"served": ["tiny"], "takes": 1, "waiting": at_once - 1}
    content["applications"][0]["args"]["settings"] |= {"models": models, "separation": {"served": ["tiny"]}}
    return content


def only_generate(deploy_file: dict[str, Any]) -> None:
    """Neither a separator nor an analyser is deployed: two processes less where nobody asks for them."""
    application = deploy_file["applications"][0]
    left_out = ("Separator", "Analyser")
    application["deployments"] = [
        entry for entry in application["deployments"] if entry["name"] not in left_out
    ]
    settings = application["args"].setdefault("settings", {})
    settings |= {"separation": {"served": []}, "analysis": {"served": None}}


def deployment_options(deploy_file: Mapping[str, Any], deployment: str) -> dict[str, Any]:
    """Segue's entry of a deployment, to be changed in place."""
    (found,) = (
        entry for entry in deploy_file["applications"][0]["deployments"] if entry["name"] == deployment
    )
    entry: dict[str, Any] = found
    return entry
