"""What Ray and Serve say of the deployments behind the ingress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray import serve

from serve_app.services.models import Capacity, ModelState

CACHE_S = 1.0


class ServeCluster:
    """`deployments` maps a model's name to the deployment that serves it."""

    def __init__(self, app_name: str, deployments: Mapping[str, str]) -> None:
        self._app_name = app_name
        self._deployments = deployments
        self._read: tuple[float, dict[str, Any]] | None = None

    async def model_states(self) -> Mapping[str, ModelState]:
        statuses = await self._statuses()
        return {
            model: _model_state(statuses.get(deployment)) for model, deployment in self._deployments.items()
        }

    async def capacity(self) -> Capacity:
        total, free = await asyncio.to_thread(lambda: (ray.cluster_resources(), ray.available_resources()))
        statuses = await self._statuses()
        gpu_ids = ray.get_gpu_ids()
        return Capacity(
            gpus_total=float(total.get("GPU", 0.0)),
            gpus_free=float(free.get("GPU", 0.0)),
            gpu_id=int(gpu_ids[0]) if gpu_ids else None,
            deployments={name: _deployment_view(status) for name, status in statuses.items()},
        )

    async def _statuses(self) -> dict[str, Any]:
        now_s = time.monotonic()
        if self._read is None or now_s - self._read[0] > CACHE_S:
            status = await asyncio.to_thread(serve.status)
            app = status.applications.get(self._app_name)
            self._read = (now_s, dict(app.deployments) if app is not None else {})
        return self._read[1]


def _model_state(status: Any) -> ModelState:
    if status is None:
        return ModelState("loading", 0)
    running = int(status.replica_states.get("RUNNING", 0))
    if running:
        return ModelState("ready", running)
    name = str(getattr(status.status, "value", status.status))
    return ModelState("error" if "UNHEALTHY" in name or "FAILED" in name else "loading", 0, status.message)


def _deployment_view(status: Any) -> dict[str, Any]:
    return {
        "status": str(getattr(status.status, "value", status.status)),
        "replicas": {
            str(getattr(state, "value", state)): count for state, count in status.replica_states.items()
        },
    }
