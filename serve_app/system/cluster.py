"""What Ray and Serve say of the cluster: its GPUs, and how the deployments of an application do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import ray
from ray.exceptions import RayError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException
from ray.serve.schema import DeploymentDetails, ServeInstanceDetails

from deployments.serve.loading import AskLoading, Loading, nothing_loads
from deployments.telemetry.load import Load
from serve_app.system.models import DeploymentState, Gpus, ModelState

CACHE_S = 1.0
LOAD_TIMEOUT_S = 2.0

logger = logging.getLogger("segue.cluster")


class ServeCluster:
    """`models` are the names of the deployments that serve a model. `handles` are of the deployments whose replicas
    have a method `load() -> Mapping[str, Load]`, by deployment. `loading` returns the models that load, by
    deployment."""

    def __init__(
        self,
        app_name: str,
        models: Collection[str],
        handles: Iterable[Any],
        loading: AskLoading = nothing_loads,
    ) -> None:
        self._app_name = app_name
        self._models = models
        self._handles = tuple(handles)
        self._loading = loading
        self._read: tuple[float, Mapping[str, DeploymentDetails]] | None = None

    async def gpus(self) -> Gpus:
        total, free = await asyncio.to_thread(lambda: (ray.cluster_resources(), ray.available_resources()))
        ids = ray.get_gpu_ids()
        return Gpus(
            total=float(total.get("GPU", 0.0)),
            free=float(free.get("GPU", 0.0)),
            id=int(ids[0]) if ids else None,
        )

    async def model_states(self) -> Mapping[str, ModelState]:
        details = await self._details(CACHE_S)
        states = {name: _model_state(details.get(name)) for name in self._models}
        if all(state.status == "ready" for state in states.values()):
            return states
        loading = await self._loading()
        return {name: _with_loading(state, loading.get(name)) for name, state in states.items()}

    async def deployments(self) -> Mapping[str, DeploymentState]:
        details, *answers = await asyncio.gather(self._details(0.0), *map(_loads, self._handles))
        loads: dict[str, Load] = {}
        for deployment, load in (item for answer in answers for item in answer):
            loads[deployment] = loads.get(deployment, Load()) + load
        return {name: _deployment_state(found, loads.get(name)) for name, found in details.items()}

    async def _details(self, max_age_s: float) -> Mapping[str, DeploymentDetails]:
        now_s = time.monotonic()
        if self._read is None or now_s - self._read[0] > max_age_s:
            try:
                app = (await asyncio.to_thread(serve_details)).applications.get(self._app_name)
            except (RayError, RayServeException) as error:
                # Requests are served on without the controller, which is restarted: what it said last holds.
                if self._read is None:
                    raise
                logger.warning("Serve's controller does not answer: %r", error)
            else:
                self._read = (now_s, app.deployments if app is not None else {})
        return self._read[1]


def serve_details() -> ServeInstanceDetails:
    """What `serve.status()` is made of; that leaves out targets, resources and the deployed file. Blocks."""
    return ServeInstanceDetails(**_get_global_client().get_serve_details())


async def _loads(handle: Any) -> list[tuple[str, Load]]:
    """The loads that each replica knows of; none if not all of them answer in time."""
    try:
        answers = await handle.broadcast("load").results_async(timeout_s=LOAD_TIMEOUT_S)
    except Exception as error:  # whatever comes of replicas that start, stop or hang
        logger.info("no load of %s: %r", handle.deployment_name, error)
        return []
    return [item for answer in answers for item in answer.items()]


def _model_state(details: DeploymentDetails | None) -> ModelState:
    if details is None:
        return ModelState("loading", 0)
    running = _replica_states(details).get("RUNNING", 0)
    if running:
        return ModelState("ready", running)
    status = details.status.value
    if "UNHEALTHY" in status or "FAILED" in status:
        # Serve's message is a traceback, which names files.
        return ModelState("error", 0, "its replicas cannot be started; the server's log says why")
    return ModelState("loading", 0, "is being loaded")


def _with_loading(state: ModelState, loading: Loading | None) -> ModelState:
    """What a replica on its way reports, where there is none that runs."""
    if loading is None or state.status != "loading":
        return state
    return ModelState(
        "error" if loading.error else "loading",
        0,
        loading.error or loading.sentence,
        loading.done_bytes,
        loading.total_bytes,
    )


def _deployment_state(details: DeploymentDetails, load: Load | None) -> DeploymentState:
    return DeploymentState(
        status=details.status.value,
        target_replicas=details.target_num_replicas,
        replicas=_replica_states(details),
        resources=details.required_resources,
        load=load,
    )


def _replica_states(details: DeploymentDetails) -> Mapping[str, int]:
    return Counter(replica.state.value for replica in details.replicas)
