"""The whole application in one process, without Ray: a real store, worker, bus and API around an engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI

from configs.environment import load_settings
from configs.settings import Settings
from deployments.audio.samples import Samples
from deployments.audio.wav import encode_wav
from deployments.engines.analysis.protocol import Analyser
from deployments.engines.families import ServedModel, served_models
from deployments.engines.music.protocol import Engine
from deployments.engines.separation.protocol import Separator
from deployments.events.bus import Announcer, LocalBus
from deployments.telemetry.jobs import JobMeter
from deployments.telemetry.recorder import Recorder
from deployments.telemetry.storage import metered
from deployments.worker.assembly import build_worker
from deployments.worker.worker import Worker
from serve_app.api import create_api
from serve_app.jobs.queue import WorkerQueue
from serve_app.system.models import DeploymentState, Gpus, ModelState
from serve_app.wiring import Services, build_services
from storage.stores.memory import MemoryStore
from storage.stores.object_store import ObjectStore
from tests.support.patience import PATIENCE_S, until

FAST: dict[str, Any] = {
    "jobs": {
        "lease_s": 6.0,
        "takeover_grace_s": 0.2,
        "sweep_s": 0.1,
        "watch_s": 0.05,
        "retry_delay_s": 0.05,
        "longest_pause_s": 0.5,
        "deadline_s": 30,
    },
    "events": {"poll_s": 0.2, "heartbeat_s": 0.3, "max_stream_s": 20},
    "http": {"allowed_hosts": ["testserver", "127.0.0.1"]},
}


class FakeCluster:
    """A cluster of ready models and no GPU."""

    def __init__(self, models: Sequence[ServedModel[Any]]) -> None:
        self._models = models

    async def model_states(self) -> Mapping[str, ModelState]:
        return {model.deployment: ModelState("ready") for model in self._models}

    async def gpus(self) -> Gpus:
        return Gpus(total=0.0, free=0.0)

    async def deployments(self) -> Mapping[str, DeploymentState]:
        return {}


@dataclass
class Running:
    """An application that runs: `http` speaks to it without a socket."""

    settings: Settings
    store: ObjectStore
    bus: LocalBus
    worker: Worker
    services: Services
    api: FastAPI
    http: httpx.AsyncClient

    async def upload(self, data: bytes, filename: str = "clip.wav", **fields: str) -> dict[str, Any]:
        answer = await self.http.post("/v1/chains", files={"file": (filename, data)}, data=fields)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def branch(self, chain_id: str, parent_id: str, **body: Any) -> dict[str, Any]:
        answer = await self.http.post(
            f"/v1/chains/{chain_id}/nodes", json={"parent_id": parent_id, "duration_s": 1.0, **body}
        )
        assert answer.status_code == 202, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def generated(self, prompt: str = "warm pads", **body: Any) -> dict[str, Any]:
        """A chain whose root was generated from a prompt, once the root is ready."""
        answer = await self.http.post("/v1/chains", json={"prompt": prompt, "duration_s": 0.5, **body})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        await self.finished(made["id"], made["root_id"])
        return await self.chain(made["id"])

    async def chain(self, chain_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/chains/{chain_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def job(self, job_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def ended(self, job_id: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """The job once it has succeeded, failed or been cancelled."""

        async def has_ended() -> bool:
            return (await self.job(job_id))["state"] in ("succeeded", "failed", "cancelled")

        await until(has_ended, timeout_s)
        return await self.job(job_id)

    async def keys(self) -> set[str]:
        """Every key in the store."""
        return {info.key async for info in self.store.list("")}

    async def rest(self) -> None:
        """Waits until the worker has nothing left to do and no job is marked as active: a node is ready before
        its job has tidied up."""

        async def is_idle() -> bool:
            busy = self.worker.running or self.worker.queued
            return not busy and not any("/active/" in key for key in await self.keys())

        await until(is_idle)

    async def node(self, chain_id: str, node_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/chains/{chain_id}/nodes/{node_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def finished(self, chain_id: str, node_id: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """The node once it is ready, failed or cancelled."""
        async with asyncio.timeout(timeout_s):
            while True:
                node = await self.node(chain_id, node_id)
                if node["status"] in ("ready", "failed", "cancelled"):
                    return node
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    engines: Mapping[str, Engine],
    *,
    separators: Mapping[str, Separator] | None = None,
    analyser: Analyser | None = None,
    overrides: Mapping[str, Any] | None = None,
    store: ObjectStore | None = None,
    work: bool = True,
    recorder: Recorder | None = None,
) -> AsyncIterator[Running]:
    """The application with `engines` and `separators` by model name, the first the default. `work=False`: no
    worker runs. With `recorder`, all of it is measured there."""
    layers: dict[str, Any] = {key: dict(value) for key, value in FAST.items()}
    for section, values in (overrides or {}).items():
        layers[section] = {**layers.get(section, {}), **values}
    separators = separators or {}
    layers["models"] = {"served": tuple(engines)}
    layers["separation"] = {**layers.get("separation", {}), "served": tuple(separators)}
    layers["analysis"] = {**layers.get("analysis", {}), "served": None if analyser is None else "mock"}
    layers["storage"] = {**layers.get("storage", {}), "url": "memory:"}
    settings = load_settings(layers, environ={"SEGUE": "tests"})
    kept = store or MemoryStore()
    if recorder is not None:
        kept = metered(kept, recorder)
    bus = LocalBus()
    worker = build_worker(
        kept, engines, separators, analyser, Announcer(bus), settings, meter=JobMeter(recorder)
    )
    models = served_models(settings)
    services = build_services(
        settings,
        kept,
        bus,
        WorkerQueue(worker),
        FakeCluster(models),
        models,
        engines,
        analyser,
        recorder,
    )
    api = create_api(services, recorder=recorder)
    if work:
        worker.start()
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(api, raise_app_exceptions=False), base_url="http://testserver"
        ) as client,
    ):
        try:
            yield Running(settings, kept, bus, worker, services, api, client)
        finally:
            await worker.stop()


@asynccontextmanager
async def listening(api: FastAPI, port: int = 0) -> AsyncIterator[httpx.AsyncClient]:
    """A client that reaches `api` through a real socket, where answers stream; its lifespan runs already. `port` 0:
    any that is free."""
    config = uvicorn.Config(
        api,
        host="127.0.0.1",
        port=port,
        lifespan="off",
        ws="none",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        # Without the list of authorities, which takes longer to read than most tests.
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False
        ) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body of an error answer, which has to be a whole problem of that status."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:400]}"
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "request_id"} <= body.keys()
    assert body["status"] == status
    assert body["type"].startswith("urn:segue:problem:")
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def tone(
    duration_s: float = 2.0,
    rate_hz: int = 44_100,
    channels: int = 2,
    frequency_hz: float = 220.0,
    level: float = 0.3,
) -> Samples:
    """A plain tone, float32 [channels, samples]."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return np.tile((level * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32), (channels, 1))


def wav(samples: Samples, rate_hz: int = 44_100) -> bytes:
    return encode_wav(samples, rate_hz)
