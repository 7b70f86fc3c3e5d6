"""How the settings want a music engine to run."""

from __future__ import annotations

from configs.settings import Settings
from deployments.engines.common.device import Device
from deployments.engines.music.catalog import EngineKind, EngineOptions


def engine_options(settings: Settings, gpu_memory_fraction: float | None = None) -> EngineOptions:
    models = settings.models
    return EngineOptions(
        engine=EngineKind(models.engine),
        device=Device(models.device),
        dtype=models.dtype,
        threads=models.threads,
        gpu_memory_fraction=gpu_memory_fraction,
        takes=models.takes,
        waiting=models.waiting,
        kv_bytes=models.kv_bytes,
        extend_stride_s=models.extend_stride_s,
    )
