"""The state of the whole application: health, capacity, public settings."""

from __future__ import annotations

from typing import Any

from configs.settings import Settings
from serve_app.services.models import Capacity, Cluster, ModelState, ServedModels, Status


class SystemService:
    def __init__(self, cluster: Cluster, models: ServedModels, settings: Settings) -> None:
        self._cluster = cluster
        self._models = models
        self._settings = settings

    async def model_states(self) -> dict[str, ModelState]:
        return dict(await self._cluster.model_states())

    async def capacity(self) -> Capacity:
        return await self._cluster.capacity()

    async def health(self) -> dict[str, Any]:
        """The superset of what clients of the older services expect: `ok`, `status`, `gpu`, `gpu_id`, `model`,
        and every model's own state."""
        states = await self.model_states()
        capacity = await self._cluster.capacity()
        status = overall(states.get(self._models.default))
        return {
            "ok": status == "ready",
            "status": status,
            "gpu": capacity.gpus_total > 0,
            "gpu_id": capacity.gpu_id,
            "model": self._models.default,
            "models": {name: {"status": s.status, "replicas": s.replicas} for name, s in states.items()},
        }

    def public_settings(self) -> dict[str, Any]:
        """The limits and choices that a client may want to know. No address, path or secret."""
        settings = self._settings
        return {
            "profile": settings.profile,
            "models": [entry.name for entry in self._models.entries],
            "default_model": self._models.default,
            "generation": settings.generation.model_dump(),
            "uploads": {
                **settings.uploads.model_dump(
                    include={"max_bytes", "max_duration_s", "min_duration_s", "max_channels"}
                ),
                "formats": ["wav", "mp3", "flac", "ogg", "m4a", "aiff"],
            },
            "export": {"wait_s": settings.export.wait_s, "formats": ["wav", "mp3", "flac"]},
            "jobs": {
                "max_attempts": settings.jobs.max_attempts,
                "max_active": settings.jobs.max_active_per_tenant,
                "deadline_s": settings.jobs.deadline_s,
            },
            "events": settings.events.model_dump(),
        }


def overall(state: ModelState | None) -> Status:
    return "loading" if state is None else state.status
