"""A music model's engine, made of its catalog entry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deployments.engines.music.catalog import EngineKind, EngineOptions, ModelEntry
from deployments.engines.music.meter import Meter
from deployments.engines.music.protocol import Engine


def load(
    entry: ModelEntry, *, cache_dir: Path, options: EngineOptions | None = None, meter: Meter | None = None
) -> Engine:
    """Load a model; blocks, and downloads what is not there yet. Raises ModelUnavailable."""
    options = options or EngineOptions()
    options = replace(options, threads=options.threads or entry.threads)
    match entry.engine:
        case EngineKind.MOCK:
            from deployments.engines.music.mock import MockEngine

            return MockEngine()
        case EngineKind.AUDIOCRAFT:
            from deployments.engines.music.reference.engine import AudiocraftEngine

            return AudiocraftEngine(
                entry,
                cache_dir=cache_dir,
                device=options.device,
                dtype=options.dtype,
                threads=options.threads,
                gpu_memory_fraction=options.gpu_memory_fraction,
            )
        case EngineKind.SEGUE:
            from deployments.engines.music.batching.engine import SegueEngine

            return SegueEngine(entry, cache_dir=cache_dir, options=options, meter=meter)
