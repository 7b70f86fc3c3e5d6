"""`musicgen-service`: one model behind `/continue` and `/health`, as a host starts it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from configs.environment import load_settings
from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.music.catalog import ModelEntry
from deployments.engines.music.mock import MockEngine
from serve_app import musicgen_service
from serve_app.musicgen_service import create_service
from tests.support.harness import problem, tone, wav
from tests.support.patience import until
from tests.support.ports import free_port


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / "clip.wav").write_bytes(wav(tone(2.0)))
    return tmp_path


def read(path: str | Path) -> bytes:
    return Path(path).read_bytes()


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = load_settings({"tools": {"folder": str(folder)}}, environ={})
    api = create_service("mock", 3, settings)
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://127.0.0.1:8001") as http,
    ):
        yield http


async def test_it_answers_while_it_loads_and_then_it_works(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load = asyncio.Event()
    loop = asyncio.get_running_loop()

    def load(entry: ModelEntry, **options: Any) -> MockEngine:
        asyncio.run_coroutine_threadsafe(may_load.wait(), loop).result()
        return MockEngine()

    monkeypatch.setattr(musicgen_service, "load", load)
    async with service(shared) as http:
        health = (await http.get("/health")).json()
        assert (health["status"], health["model"], health["gpu_id"]) == ("loading", "mock", 3)
        problem(await http.post("/continue", json={"audio_path": "clip.wav"}), 503)
        may_load.set()

        async def is_ready() -> bool:
            return bool((await http.get("/health")).json()["status"] == "ready")

        await until(is_ready)
        answer = await http.post("/continue", json={"audio_path": str(shared / "clip.wav")})
        assert answer.status_code == 200, answer.text
        assert read(answer.json()["audio_path"]) == read(shared / "clip.wav")
        problem(await http.post("/continue", json={"audio_path": "../x.wav"}), 403)
        problem(await http.post("/continue", json={"audio_path": "clip.wav", "duration_s": 3}), 422)


async def test_a_model_that_cannot_be_had_is_an_error_that_it_tells(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(entry: ModelEntry, **options: Any) -> MockEngine:
        raise ModelUnavailable("no weights in /secret/folder")

    monkeypatch.setattr(musicgen_service, "load", load)
    async with service(shared) as http:

        async def has_failed() -> bool:
            return bool((await http.get("/health")).json()["status"] == "error")

        await until(has_failed)
        answer = await http.post("/continue", json={"audio_path": "clip.wav"})
        problem(answer, 503)
        assert "secret" not in answer.text


def test_the_command_as_a_host_starts_it(shared: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "serve_app.musicgen_service"]
    command += ["--model", "facebook/musicgen-melody", "--port", str(port), "--gpu-id", "0"]
    environment = {**os.environ, "CF_MUSICGEN_MOCK": "1", "SEGUE_TOOLS__FOLDER": str(shared)}
    with subprocess.Popen(command, env=environment) as running:
        try:
            url, give_up_s = f"http://127.0.0.1:{port}", time.monotonic() + 60
            while True:
                try:
                    if httpx.get(f"{url}/health").json()["status"] == "ready":
                        break
                except httpx.HTTPError:
                    assert running.poll() is None
                assert time.monotonic() < give_up_s
                time.sleep(0.1)
            answer = httpx.post(f"{url}/continue", json={"audio_path": str(shared / "clip.wav")})
            assert answer.json()["duration_s"] == 2.0
        finally:
            running.send_signal(signal.SIGINT)
            assert running.wait(20) == 0


def test_wrong_usage_is_told() -> None:
    command = [sys.executable, "-m", "serve_app.musicgen_service", "--model", "nobody/knows"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "nobody/knows" in done.stderr
