"""What kills are tried on: Segue on a head node and two others, with two of everything that may be doubled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx
import ray

from tests.serve.cluster import Cluster, Node, wait_until
from tests.serve.server import Server, deployment_options, local_deploy_file, only_generate
from tests.serve.session import kill

WORK = "work"
"""A logical resource of the nodes that may be lost: generators and runners run nowhere else."""

HEAL_TIMEOUT_S = 180.0
PROMPT_CHARS = 1000
NOTICE_S = 20.0
"""So long `serve run` has to notice that Ray is gone, before a supervisor of the machine would."""

# A takeover within seconds; a proxy that comes back as README.md tells operators to have it.
ENVIRONMENT = {
    "SEGUE_JOBS__LEASE_S": "6",
    "SEGUE_JOBS__TAKEOVER_GRACE_S": "1",
    "SEGUE_JOBS__SWEEP_S": "1",
    "SEGUE_JOBS__RETRY_DELAY_S": "0.5",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
}

_REPLICAS = {"Ingress": 2, "JobRunner": 2, "EventHub": 1, "Generator": 2}
_AT_WORK = ("JobRunner", "Generator")
_WORKERS = 2


class Victim(StrEnum):
    """What may die."""

    GENERATOR = "generator"
    RUNNER = "runner"
    INGRESS = "ingress"
    HUB = "hub"
    PROXY = "proxy"
    CONTROLLER = "controller"
    NODE = "node"
    """A whole worker node with all that runs on it; another one joins in its place."""
    RAYLET = "raylet"
    """Ray's daemon on a worker node, which takes that node's replicas along; another node joins."""
    HEAD = "head"
    """Ray's control store (GCS), which is single: the whole cluster goes and comes back, as a supervisor has it."""
    STORE = "store"
    """The S3 server, which starts again on its data."""
    VERSION = "version"
    """Every replica of the old version: `serve deploy` of another one replaces them. Nothing is killed."""


_RAY = Path(ray.__file__).parent / "core/src/ray"

TITLES: Mapping[Victim, str] = {
    Victim.GENERATOR: "ray::ServeReplica:segue:Generator",
    Victim.RUNNER: "ray::ServeReplica:segue:JobRunner",
    Victim.INGRESS: "ray::ServeReplica:segue:Ingress",
    Victim.HUB: "ray::ServeReplica:segue:EventHub",
    Victim.PROXY: "ray::ProxyActor",
    Victim.CONTROLLER: "ray::ServeController",
    Victim.RAYLET: str(_RAY / "raylet/raylet"),
    Victim.HEAD: str(_RAY / "gcs/gcs_server"),
}
"""How their processes are called."""


class NobodyToKill(Exception):
    """The victim has died already and is not back."""


class Stand:
    """`at_once` is how many jobs one runner, or one generator, works on at the same time: with 1, two jobs keep
    two of each busy. `kill_store` kills the S3 server, and has it start again. `deploys`: there is a dashboard, by
    which a new version can be deployed. `environment` is the cluster's, on
    top of ENVIRONMENT: where storage is, above all.
    """

    def __init__(
        self,
        folder: Path,
        *,
        at_once: int,
        kill_store: Callable[[], int] | None = None,
        deploys: bool = False,
        **environment: str,
    ) -> None:
        self._at_once = at_once
        self._kill_store = kill_store
        self._deploys = deploys
        self._version = 0
        settings = {**ENVIRONMENT, "SEGUE_JOBS__CONCURRENT": str(at_once), **environment}
        self.cluster = Cluster(folder, num_cpus=4, **settings)
        self.server = Server(folder, cluster=self.cluster, deploy_file=deploy_file(at_once))

    def start(self) -> None:
        self.cluster.start(dashboard=self._deploys)
        with ThreadPoolExecutor(_WORKERS) as starting:
            for worker in [starting.submit(self._add_worker) for _ in range(_WORKERS)]:
                worker.result()
        self.server.start()
        self.wait_until_whole()

    def stop(self) -> None:
        """Everything at once: what is stored has to bear it."""
        self.server.kill_everything()
        self.cluster.stop()

    def strike(self, victim: Victim, choice: float = 0.0) -> str:
        """SIGKILL one of a kind, which `choice` (0..1) picks out of those there are; says whom it met.

        Raises NobodyToKill.
        """
        match victim:
            case Victim.VERSION:
                return self._deploy()
            case Victim.NODE | Victim.RAYLET:
                return self._strike_node(choice, whole=victim is Victim.NODE)
            case Victim.HEAD:
                return self._strike_head()
            case Victim.STORE:
                if self._kill_store is None:
                    raise NobodyToKill(victim)
                return f"process {self._kill_store()}; it has started again"
        pids = self.cluster.pids(TITLES[victim])
        if not pids:
            raise NobodyToKill(victim)
        pid = _pick(pids, choice)
        kill(pid)
        return f"process {pid}, one of {len(pids)}"

    def wait_until_whole(self) -> None:
        """Serve has put everything back, and answers. Raises TimeoutError."""
        self.server.wait_until(self._is_whole, HEAL_TIMEOUT_S, "every replica is there and ready")

    def _is_whole(self) -> bool:
        there = {name: len(self.server.replicas(name)) for name in _REPLICAS}
        singles = (Victim.PROXY, Victim.CONTROLLER)
        return (
            there == _REPLICAS
            and all(self.cluster.pids(TITLES[victim]) for victim in singles)
            and self._running_replicas() == _REPLICAS
        )

    def _running_replicas(self) -> dict[str, int]:
        """As the controller counts them: a replica that still loads its model is not one of them."""
        try:
            deployments = httpx.get(f"{self.server.url}/v1/gpu", timeout=5).json()["deployments"]
        except (httpx.HTTPError, ValueError, KeyError):
            return {}
        return {name: deployments[name]["replicas"].get("RUNNING", 0) for name in deployments}

    def _strike_node(self, choice: float, *, whole: bool) -> str:
        """All processes of a node, or its raylet alone."""
        hosts = [
            node for node in self.cluster.nodes[1:] if _workers_of(node) and node.pids(TITLES[Victim.RAYLET])
        ]
        if not hosts:
            raise NobodyToKill(Victim.NODE)
        node = _pick(hosts, choice)
        lost = [name for name in _REPLICAS for _ in node.pids(f"ray::ServeReplica:segue:{name}")]
        if whole:
            self.cluster.kill_node(node)
        else:
            for pid in node.pids(TITLES[Victim.RAYLET]):
                kill(pid)
        joined = self._add_worker()
        return f"{node.name} with {', '.join(lost)}; {joined.name} joined"

    def _deploy(self) -> str:
        if not self._deploys:
            raise NobodyToKill(Victim.VERSION)
        before = set(self.cluster.pids())
        self._version += 1
        self.server.deploy(deploy_file(self._at_once, version=self._version))

        def is_there() -> bool:
            left = before & {pid for name in _REPLICAS for pid in self.server.replicas(name)}
            return not left and self._shows_version()

        self.server.wait_until(is_there, HEAL_TIMEOUT_S, "the new version is there")
        return f"version {self._version} has replaced every replica"

    def _shows_version(self) -> bool:
        try:
            config = httpx.get(f"{self.server.url}/v1/config", timeout=5).json()
        except (httpx.HTTPError, ValueError):
            return False
        return bool(config["generation"]["max_prompt_chars"] == PROMPT_CHARS + self._version)

    def _strike_head(self) -> str:
        pids = self.cluster.pids(TITLES[Victim.HEAD])
        if not pids:
            raise NobodyToKill(Victim.HEAD)
        for pid in pids:
            kill(pid)
        try:
            wait_until(self.server.has_ended, NOTICE_S, "serve run has ended")
            noticed = "serve run ended"
        except TimeoutError:
            noticed = f"serve run was still there {NOTICE_S:g} s later"
        self.stop()
        self.start()
        return f"process {pids[0]}; {noticed}; the whole cluster was started again"

    def _add_worker(self) -> Node:
        return self.cluster.add_node(num_cpus=4, resources={WORK: 8})


def deploy_file(takes_at_once: int, *, version: int = 0) -> dict[str, Any]:
    """`configs/local.yaml` with more replicas, without stems, and the work away from the head. Each version has
    another setting, by which it is told."""
    content = local_deploy_file()
    only_generate(content)
    settings = content["applications"][0]["args"]["settings"]
    settings["generation"] = {"max_prompt_chars": PROMPT_CHARS + version}
    for name, replicas in _REPLICAS.items():
        deployment_options(content, name)["num_replicas"] = replicas
    for name in _AT_WORK:
        deployment_options(content, name)["ray_actor_options"]["resources"] = {WORK: 1}
    deployment_options(content, "Generator")["max_ongoing_requests"] = takes_at_once
    return content


def _workers_of(node: Node) -> list[int]:
    return [pid for name in _AT_WORK for pid in node.pids(f"ray::ServeReplica:segue:{name}")]


def _pick(those: list[Any], choice: float) -> Any:
    return those[min(int(choice * len(those)), len(those) - 1)]
