"""The `JobRunner` deployment: a worker on the store, and models behind Serve handles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ray import serve

from configs.settings import Settings
from deployments.engines.families import ServedModel
from deployments.events.bus import Announcer, HubBus
from deployments.serve.handles import model_handles
from deployments.serve.loading import HubLoading
from deployments.serve.loopback import listen_where_the_node_is
from deployments.serve.machines import RayNodes
from deployments.telemetry.jobs import JobMeter
from deployments.telemetry.load import Load
from deployments.telemetry.logs import configure_logging
from deployments.telemetry.recorder import RayRecorder, Recorder
from deployments.telemetry.storage import metered, retries
from deployments.telemetry.traces import configure_traces
from deployments.temporary import sweep_temporary_folders
from deployments.worker.assembly import build_worker
from deployments.worker.collection import Housekeeper
from storage.gc.collector import Collector
from storage.gc.rules import Retention
from storage.repositories.jobs import JobKey
from storage.stores.object_store import ObjectStore
from storage.stores.opening import check_store, open_store

WRITING_PROCESSES = 2
"""At least: an ingress and a runner. So the store is always held to what several writers need."""


class JobRunner:
    async def __init__(  # type: ignore[misc]
        self,
        settings: Settings,
        models: Sequence[ServedModel[Any]],
        handles: Mapping[str, Any],
        hub: Any,
    ) -> None:
        """`handles` are of the deployments that serve `models`, by name."""
        configure_logging(settings)
        configure_traces(settings.telemetry, type(self).__name__)
        sweep_temporary_folders()
        listen_where_the_node_is()
        recorder = RayRecorder()
        store = open_store(settings.storage, retries(recorder))
        self._store = metered(store, recorder)
        self._beats = metered(open_store(settings.storage, retries(recorder)), recorder, is_traced=False)
        await check_store(store, settings.storage, replicas=WRITING_PROCESSES)
        self._models = model_handles(models, handles, HubLoading(hub))
        self._worker = build_worker(
            self._store,
            self._models.generators,
            self._models.separators,
            self._models.analyser,
            Announcer(HubBus(hub)),
            settings,
            self._beats,
            JobMeter(recorder),
            RayNodes(),
        )
        self._worker.start()
        self._housekeeper = housekeeper(self._store, settings, recorder)
        if self._housekeeper is not None:
            self._housekeeper.start()

    async def submit(self, key: JobKey) -> None:
        self._worker.submit(key)

    async def look_at(self, key: JobKey) -> None:
        self._worker.look_at(key)

    async def load(self) -> dict[str, Load]:
        """This runner's jobs, and its requests at each model, by the deployment's name."""
        return {"JobRunner": Load(self._worker.running, self._worker.queued), **self._models.loads()}

    async def check_health(self) -> None:
        if not self._worker.is_alive():
            raise RuntimeError("the worker's tasks have ended")

    async def __del__(self) -> None:
        """Also of a runner whose constructor failed, which Serve deletes as it is."""
        ends = (("_housekeeper", "stop"), ("_worker", "stop"), ("_beats", "close"), ("_store", "close"))
        for name, end in ends:
            part = getattr(self, name, None)
            if part is not None:
                await getattr(part, end)()


def housekeeper(
    store: ObjectStore, settings: Settings, recorder: Recorder | None = None
) -> Housekeeper | None:
    """None where the settings leave collecting to others."""
    kept = settings.retention
    if kept.collect_every_s is None:
        return None
    retention = Retention(
        grace_s=kept.grace_s,
        exports_s=kept.exports_s,
        tombstones_s=kept.tombstones_s,
        outputs_s=settings.process.outputs_s,
        analyses_s=kept.analyses_s,
        jobs_s=kept.jobs_s,
        keys_s=settings.jobs.idempotency_ttl_s,
    )
    return Housekeeper(Collector(store, retention), kept.collect_every_s, recorder)


JobRunnerDeployment = serve.deployment(
    name="JobRunner",
    max_ongoing_requests=100,
    graceful_shutdown_wait_loop_s=0.1,  # its jobs are back in the queue before the models that they use are gone
    ray_actor_options={"num_cpus": 0.1},
)(JobRunner)
