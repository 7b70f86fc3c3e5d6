"""An analyser's engine, made of its catalog entry."""

from __future__ import annotations

from pathlib import Path

from deployments.engines.analysis.catalog import AnalyserEntry, AnalyserKind, AnalyserOptions, MelodyModel
from deployments.engines.analysis.protocol import AnalyserEngine
from deployments.engines.common.errors import ModelUnavailable


def load(entry: AnalyserEntry, *, cache_dir: Path, options: AnalyserOptions | None = None) -> AnalyserEngine:
    """Load an analyser; blocks, and downloads what is not there yet. Raises ModelUnavailable."""
    options = options or AnalyserOptions()
    if options.melody not in list(MelodyModel):
        raise ModelUnavailable(f"melody must be {' or '.join(MelodyModel)}, not {options.melody!r}")
    if entry.engine is AnalyserKind.MOCK:
        from deployments.engines.analysis.mock import MockAnalyser

        return MockAnalyser()
    from deployments.engines.analysis.engine import SignalAnalyser

    return SignalAnalyser(entry, cache_dir=cache_dir, options=options)
