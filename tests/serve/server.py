"""A real Segue as an operator runs it: `serve run` on a deploy file, in processes of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 150.0


class Server:
    """`configs/local.yaml` on a free port, with its own Ray cluster, data and temporary folder.

    `applications` are deployed beside Segue: entries of a deploy file's own list.
    """

    def __init__(
        self, folder: Path, *, applications: Sequence[Mapping[str, Any]] = (), **environment: str
    ) -> None:
        self._folder = folder
        self._applications = applications
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = folder / "data"
        self.log = folder / "serve.log"
        # Ray makes Unix sockets below its folder, whose paths must be short.
        self._ray_folder = Path("/tmp") / f"segue-{os.getpid()}-{self.port}"

    def start(self) -> None:
        """Raises TimeoutError if it is not ready in time."""
        config = yaml.safe_load((REPOSITORY / "configs" / "local.yaml").read_text())
        config["http_options"]["port"] = self.port
        config["applications"] += [dict(application) for application in self._applications]
        deploy_file = self._folder / "deploy.yaml"
        deploy_file.write_text(yaml.safe_dump(config))
        environment = {
            **os.environ,
            "RAY_ADDRESS": "local",
            "RAY_TMPDIR": str(self._ray_folder),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "GRPC_ENABLE_FORK_SUPPORT": "0",
            "SEGUE_STORAGE": f"file:{self.data}",
            **self._environment,
        }
        self._ray_folder.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).with_name("serve")), "run", str(deploy_file)],
                cwd=REPOSITORY,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell's background job ignores SIGINT, and its children with it; a terminal's does not.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self.wait_until(self._is_ready, START_TIMEOUT_S, "the server is ready")

    def stop(self) -> None:
        """As Ctrl-C does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill_everything()
            self._process = None
        shutil.rmtree(self._ray_folder, ignore_errors=True)

    def kill_everything(self) -> None:
        """As a power cut does: every process at once, by pid."""
        for pid in self.pids(""):
            _kill(pid)
        if self._process is not None:
            _kill(self._process.pid)
            self._process.wait(30)
            self._process = None
        self.wait_until(lambda: not self.pids(""), 30, "all processes are gone")

    def kill(self, deployment: str) -> int:
        """SIGKILL the one replica of a deployment; returns its pid."""
        (pid,) = self.pids(f"ray::ServeReplica:segue:{deployment}")
        _kill(pid)
        return pid

    def pids(self, title: str) -> list[int]:
        """The processes of this server's own cluster whose title begins so."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            ours = f"RAY_TMPDIR={self._ray_folder}".encode() in environment.split(b"\0")
            if ours and command.startswith(title) and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        return found

    def wait_until(self, holds: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """Poll until `holds` gives something true; gives it back. Raises TimeoutError with the log's end."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if self._process is not None and self._process.poll() is not None:
                raise RuntimeError(f"serve run ended with {self._process.returncode}:\n{self._log_tail()}")
            result = holds()
            if result:
                return result
            time.sleep(0.1)
        raise TimeoutError(f"after {timeout_s:g} s it did not come true that {what}\n{self._log_tail()}")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-6000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
