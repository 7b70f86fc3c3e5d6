"""`make run` from its start to its end: what it says, and what each way to stop it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.serve.cluster import RAY_ENVIRONMENT, wait_until
from tests.serve.server import Server, local_deploy_file, only_generate
from tests.serve.session import REPOSITORY, kill
from tests.support.clips import encoded, music
from tests.support.ports import free_port

pytestmark = [pytest.mark.serve, pytest.mark.torch]

START_S = 150.0
SET_BY_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
"""A make that finds these in its environment counts itself as a part of another and prints its folders."""

STOP_S = 100.0


class MakeRun:
    """`make run` on a port, data and temporary folder of its own, in the background of a shell that is not
    interactive: SIGINT is ignored there unless a program says otherwise."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = folder / "data"
        self._output = folder / "output"
        self._ray = Path("/tmp") / f"segue-{os.getpid()}-{self.port}"
        self._ray.mkdir()
        content = local_deploy_file()
        content["applications"][0]["args"]["settings"].clear()  # the models that everybody gets
        only_generate(content)
        content["http_options"]["port"] = self.port
        deploy_file = folder / "deploy.yaml"
        deploy_file.write_text(yaml.safe_dump(content))
        venv = Path(sys.prefix)
        make = f"make -o {venv}/.installed VENV={venv} CONFIG={deploy_file} run"
        with self._output.open("wb") as output:
            self.shell = subprocess.Popen(
                ["sh", "-c", f"{make} & echo $! > {folder}/pid; wait $!"],
                cwd=REPOSITORY,
                env={
                    **{name: value for name, value in os.environ.items() if name not in SET_BY_MAKE},
                    **RAY_ENVIRONMENT,
                    "RAY_TMPDIR": str(self._ray),
                    "SEGUE_STORAGE": f"file:{self.data}",
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._pid = folder / "pid"

    @property
    def make(self) -> int:
        wait_until(lambda: self._pid.exists() and self._pid.read_text().strip(), 20, "make runs")
        return int(self._pid.read_text())

    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def pids(self, name: str = "") -> list[int]:
        """All processes that have this run's environment, of one program; the shell too."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and str(self._ray).encode() in (entry / "environ").read_bytes():
                    program = (entry / "stat").read_text().partition("(")[2].rpartition(")")[0]
                    found += [int(entry.name)] if name in ("", program) else []
            except OSError:
                continue
        return found

    def supervisor(self) -> int:
        children = Path(f"/proc/{self.make}/task/{self.make}/children")
        wait_until(lambda: children.read_text().split(), 20, "the supervisor runs")
        return int(children.read_text().split()[0])

    def until_ready(self) -> None:
        def is_ready() -> bool:
            assert self.shell.poll() is None, self.output()
            return "is ready" in self.output()

        wait_until(is_ready, START_S, "it says that it is ready", self.output)

    def until_ended(self) -> int:
        """The status; asserts that no process is left."""
        status = self.shell.wait(STOP_S)
        wait_until(lambda: not self.pids(), 20, "no process is left", lambda: str(self.pids()))
        return status

    def clean_up(self) -> None:
        while pids := self.pids():
            for pid in pids:
                kill(pid)
            self.shell.poll()
        self.shell.wait()
        shutil.rmtree(self._ray, ignore_errors=True)

    def running_job(self) -> str:
        """The id of a job that is being worked on."""
        with httpx.Client(base_url=self.url, timeout=60) as http:
            chain = http.post(
                "/v1/chains", files={"file": ("clip.wav", encoded(music(), 44_100, "wav"))}
            ).json()
            body = {"parent_id": chain["root_id"], "prompt": "strings", "duration_s": 120.0}
            job_id: str = http.post(f"/v1/chains/{chain['id']}/nodes", json=body).json()["job_ids"][0]
            wait_until(lambda: http.get(f"/v1/jobs/{job_id}").json()["state"] == "running", 60, "it runs")
            return job_id

    def record(self, job_id: str) -> dict[str, Any]:
        (path,) = self.data.glob(f"tenants/*/jobs/{job_id}.json")
        record: dict[str, Any] = json.loads(path.read_text())["record"]
        return record


@pytest.fixture
def running(tmp_path: Path) -> Iterator[MakeRun]:
    run = MakeRun(tmp_path)
    try:
        yield run
    finally:
        run.clean_up()


def test_a_stop_of_make_alone_loses_nothing(running: MakeRun) -> None:
    running.until_ready()
    assert running.output().splitlines() == [
        "Starting Ray ...",
        "Loading the models ...",
        f"Segue is ready on {running.url} (API: /docs)",
    ]
    job_id = running.running_job()
    for _ in range(3):
        os.kill(running.make, signal.SIGTERM)
    running.until_ended()
    record = running.record(job_id)
    assert (record["state"], record["attempt"]) == ("queued", 0)
    assert "Stopping: running jobs go back to the queue.\nSegue has stopped.\n" in running.output()
    assert "SIGTERM received" not in running.output()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_group_loses_nothing(running: MakeRun, number: signal.Signals) -> None:
    running.until_ready()
    job_id = running.running_job()
    os.killpg(running.shell.pid, number)
    running.until_ended()
    record = running.record(job_id)
    assert (record["state"], record["attempt"]) == ("queued", 0)
    assert "Segue has stopped." in running.output()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["make", "supervisor"])
def test_a_kill_loses_nothing(running: MakeRun, victim: str) -> None:
    running.until_ready()
    job_id = running.running_job()
    kill(running.make if victim == "make" else running.supervisor())
    running.until_ended()
    record = running.record(job_id)
    assert (record["state"], record["attempt"]) == ("queued", 0)


@pytest.mark.slow
def test_a_stop_while_it_starts_leaves_nothing(running: MakeRun) -> None:
    wait_until(lambda: running.pids("raylet"), START_S, "Ray starts", running.output)
    os.kill(running.make, signal.SIGTERM)
    running.until_ended()
    assert "is ready" not in running.output()


@pytest.mark.slow
def test_sigterm_to_a_bare_serve_run_counts_no_attempt(tmp_path: Path) -> None:
    """Whether a runner could give its job back before Ray killed it, or the next cluster found its node gone."""
    content = local_deploy_file()
    only_generate(content)
    server = Server(tmp_path, deploy_file=content)

    def job(job_id: str) -> dict[str, Any]:
        (path,) = server.data.glob(f"tenants/*/jobs/{job_id}.json")
        record: dict[str, Any] = json.loads(path.read_text())["record"]
        return record

    try:
        server.start()
        with httpx.Client(base_url=server.url, timeout=60) as http:
            clip = {"file": ("clip.wav", encoded(music(), 44_100, "wav"))}
            chain = http.post("/v1/chains", files=clip).json()
            body = {"parent_id": chain["root_id"], "prompt": "strings", "duration_s": 120.0}
            job_id: str = http.post(f"/v1/chains/{chain['id']}/nodes", json=body).json()["job_ids"][0]
        server.wait_until(lambda: job(job_id)["state"] == "running", 60, "it runs")
        server.terminate(STOP_S)
        server.start()
        server.wait_until(lambda: job(job_id)["fence"] == 2, 60, "it runs again")
        assert job(job_id)["attempt"] == 1
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("daemon", ["raylet", "gcs_server"])
def test_a_dead_daemon_ends_it_with_a_word_and_a_status(running: MakeRun, daemon: str) -> None:
    running.until_ready()
    (pid,) = running.pids(daemon)
    kill(pid)
    assert running.until_ended() != 0
    assert (
        f"Ray's {daemon} has died, so Segue ends." in running.output()
        or "ended by itself" in running.output()
    )
