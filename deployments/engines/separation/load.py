"""A separator's engine, made of its catalog entry."""

from __future__ import annotations

from pathlib import Path

from deployments.engines.separation.catalog import SeparatorEntry, SeparatorKind, SeparatorOptions
from deployments.engines.separation.protocol import SeparatorEngine


def load(
    entry: SeparatorEntry, *, cache_dir: Path, options: SeparatorOptions | None = None
) -> SeparatorEngine:
    """Load a model; blocks, and downloads what is not there yet. Raises ModelUnavailable."""
    match entry.engine:
        case SeparatorKind.MOCK:
            from deployments.engines.separation.mock import MockSeparator

            return MockSeparator()
        case SeparatorKind.DEMUCS:
            from deployments.engines.separation.demucs.engine import DemucsEngine

            return DemucsEngine(entry, cache_dir=cache_dir, options=options or SeparatorOptions())
