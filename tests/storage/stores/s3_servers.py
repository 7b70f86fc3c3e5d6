"""An S3 server for tests: ministack, started here on loopback, or the one that SEGUE_TEST_S3_ENDPOINT names
(with keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as `scripts/ceph-rgw` sets them).

A `conftest` that imports `s3_server` and `s3_settings` has them as fixtures.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import pytest
from botocore.config import Config

from configs.settings import StorageSettings
from tests.support.ports import free_port

BUCKET = f"segue-test-{secrets.token_hex(6)}"
REGION = "us-east-1"
START_S = 60.0

# It ends with this process, however this process ends: its standard input is then at its end.
_MINISTACK = """
import os, runpy, sys, threading
threading.Thread(target=lambda: os._exit(len(sys.stdin.buffer.read())), daemon=True).start()
runpy.run_module("ministack", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class S3Server:
    endpoint_url: str
    access_key: str
    secret_key: str
    is_real: bool
    """Checks signatures, so that nobody may change a request on its way."""

    def client(self) -> Any:
        """boto3's, for what the store does not do."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 10}
            ),
        )

    def environment(self) -> Mapping[str, str]:
        """The usual chain of credentials, and nothing of the machine's own."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
        }


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running server in which BUCKET exists."""
    with named_server() or ministack(tmp_path_factory.mktemp("ministack")) as server, _shared_models():
        with closing(server.client()) as client:
            client.create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture
def s3_settings(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    """A place of its own in BUCKET, and the server's keys in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return StorageSettings(
        url=f"s3://{BUCKET}/test/{secrets.token_hex(8)}", endpoint_url=s3_server.endpoint_url
    )


def named_server() -> AbstractContextManager[S3Server] | None:
    """The one of the environment, if it names one."""
    endpoint_url = os.environ.get("SEGUE_TEST_S3_ENDPOINT")
    if endpoint_url is None:
        return None
    keys = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    return nullcontext(S3Server(endpoint_url, *keys, is_real=True))


@contextmanager
def ministack(folder: Path) -> Iterator[S3Server]:
    """One that keeps everything below `folder`, until it is left."""
    running = Ministack(folder)
    try:
        running.start()
        yield running.server
    finally:
        running.kill()


class Ministack:
    """ministack on a port of its own, with its data below `folder`, which outlives it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        # The keys by which it checks presigned URLs; it checks nothing else.
        self.server = S3Server(f"http://127.0.0.1:{self._port}", "test", "test", is_real=False)

    def start(self) -> None:
        """Raises RuntimeError with its log where it does not start."""
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder),
            "BIND_HOST": "127.0.0.1",  # else it is open to the network
            "GATEWAY_PORT": str(self._port),
            "SERVICES": "s3",
            "IOT_MTLS_ENABLED": "0",
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(data),
            "LOG_LEVEL": "WARNING",
        }
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _MINISTACK],
                env=environment,
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        _wait_for(self._port, self._process, log)

    def kill(self) -> int | None:
        """SIGKILL; returns its pid, None where it does not run."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        process.kill()
        process.communicate()
        return process.pid


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"ministack did not start:\n{log.read_text()}")


@contextmanager
def _shared_models() -> Iterator[None]:
    """Have botocore read its description of S3 once, not for every client: most tests make one."""
    loader = botocore.loaders.create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", lambda _: loader)
        yield
