"""The state of the whole application: health, capacity, public settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from configs.settings import Settings
from deployments.audio.decode.formats import Container
from deployments.engines.families import ANALYSER, GENERATOR, SEPARATOR, Family, ServedModel, of_family
from deployments.export.choices import export_choices
from deployments.export.formats import AUDIO_FORMATS, FORMATS
from serve_app.system.models import UNKNOWN, Capacity, Cluster, ModelState
from serve_app.system.storage_check import StorageCheck
from storage.repositories.jobs import Jobs

T = TypeVar("T")

CACHE_S = 1.0
INPUT_FORMATS = tuple(container.value for container in Container)


class SystemService:
    def __init__(
        self,
        cluster: Cluster,
        models: Sequence[ServedModel[Any]],
        jobs: Jobs,
        storage: StorageCheck,
        settings: Settings,
    ) -> None:
        self._storage = storage
        self._cluster = cluster
        self.models = models
        self._jobs = jobs
        self._settings = settings
        self._reading = asyncio.Lock()
        self._capacity: tuple[float, Capacity] | None = None

    async def model_states(self) -> dict[str, ModelState]:
        """Of every family's models, by deployment."""
        return dict(await self._cluster.model_states())

    async def capacity(self) -> Capacity:
        """As it was at most a second ago: asked all the time, it costs no more than that."""
        async with self._reading:
            now_s = time.monotonic()
            if self._capacity is None or now_s - self._capacity[0] > CACHE_S:
                gpus, deployments, active = await asyncio.gather(
                    self._cluster.gpus(), self._cluster.deployments(), self._jobs.active()
                )
                self._capacity = (now_s, Capacity(gpus, deployments, len(active)))
            return self._capacity[1]

    async def health(self) -> dict[str, Any]:
        """The superset of what clients of the older services expect: `ok`, `status`, `gpu`, `gpu_id`, `model`,
        and every model's own state."""
        states, gpus = await self.model_states(), await self._cluster.gpus()
        storage = await self._storage.state()
        status = states.get(GENERATOR.name, UNKNOWN).status
        if storage.status != "ready":
            status = "error"

        def shown(family: Family[Any, Any, Any]) -> dict[str, dict[str, Any]]:
            return {
                model.entry.name: _shown(states.get(model.deployment, UNKNOWN))
                for model in of_family(family, self.models)
            }

        return {
            "ok": status == "ready",
            "status": status,
            "storage": {"status": storage.status, "reason": storage.reason},
            "gpu": gpus.total > 0,
            "gpu_id": gpus.id,
            "model": _first(self._names(GENERATOR)),
            "models": shown(GENERATOR),
            "separators": shown(SEPARATOR),
            "analyser": _first(shown(ANALYSER).values()),
        }

    def pipeline_settings(self) -> dict[str, Any]:
        """What `POST /process` takes and does, and how long it keeps what it made."""
        process = self._settings.process
        return {
            "model": _first(self._names(SEPARATOR)),
            "models": [model.entry.describe() for model in of_family(SEPARATOR, self.models)],
            "device": self._settings.separation.device,
            "stages": ["separation", "harmonic_percussive", "composite", "normalisation", "encode"],
            "normalize": process.normalize,
            "target_db": process.target_db,
            "ceiling_dbtp": process.ceiling_dbtp,
            "max_shifts": self._settings.separation.max_shifts,
            "max_bytes": process.max_bytes,
            "max_file_size_mb": process.max_bytes / 1e6,
            "max_duration_s": process.max_duration_s,
            "retention_s": process.outputs_s,
            "input_formats": list(INPUT_FORMATS),
            "output_formats": {name: list(FORMATS[name].depths) for name in AUDIO_FORMATS},
        }

    def public_settings(self) -> dict[str, Any]:
        """The limits and choices that a client may want to know. No address, path or secret."""
        settings = self._settings
        return {
            "profile": settings.profile,
            "models": self._names(GENERATOR),
            "default_model": _first(self._names(GENERATOR)),
            "generation": settings.generation.model_dump(),
            "chains": settings.chains.model_dump(),
            "uploads": {
                **settings.uploads.model_dump(
                    include={"max_bytes", "max_duration_s", "min_duration_s", "max_channels"}
                ),
                "formats": list(INPUT_FORMATS),
            },
            "separators": self._names(SEPARATOR),
            "default_separator": _first(self._names(SEPARATOR)),
            "analyser": _first(self._names(ANALYSER)),
            "automatic_analysis": bool(self._names(ANALYSER)) and settings.analysis.automatic,
            "tools": {
                **settings.tools.model_dump(include={"max_bytes", "max_input_s", "deadline_s", "logs"}),
                "continue": settings.tools.folder is not None,
            },
            "process": self.pipeline_settings(),
            "export": {"wait_s": settings.export.wait_s, **export_choices()},
            "jobs": {
                "max_attempts": settings.jobs.max_attempts,
                "max_active": settings.jobs.max_active_per_tenant,
                "deadline_s": settings.jobs.deadline_s,
            },
            "events": settings.events.model_dump(),
        }

    def _names(self, family: Family[Any, Any, Any]) -> list[str]:
        return [model.entry.name for model in of_family(family, self.models)]


def _shown(state: ModelState) -> dict[str, Any]:
    return {
        "status": state.status,
        "replicas": state.replicas,
        **({"detail": state.detail} if state.detail else {}),
        **({"done_bytes": state.done_bytes, "total_bytes": state.total_bytes} if state.total_bytes else {}),
    }


def _first(values: Iterable[T]) -> T | None:
    return next(iter(values), None)
