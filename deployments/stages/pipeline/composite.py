"""The backing of a voice: the mix without its vocals, whole and in two parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deployments.stages.pipeline.blocks import Progress, combine, difference
from deployments.stages.pipeline.harmonic import VERSION as SPLIT_VERSION
from deployments.stages.pipeline.harmonic import split
from deployments.stages.pipeline.workspace import MIX, Workspace
from storage.domain.model import Track

VOCALS = "vocals"
MAIN, MAIN_HARMONIC, MAIN_PERCUSSIVE = "main", "main_harmonic", "main_percussive"
VERSION = 1


class CompositeStage:
    """Satisfies `PipelineStage`: `main` is the mix without the vocals; `main_harmonic` and `main_percussive` add
    up to it."""

    name = "composite"
    share = 1.5

    @property
    def params(self) -> Mapping[str, Any]:
        return {"version": VERSION, "harmonic_percussive": SPLIT_VERSION}

    def missing(self, names: Sequence[str]) -> str | None:
        lacking = [name for name in (MIX, VOCALS) if name not in names]
        return f"there is no track {' and no track '.join(lacking)} to make it from" if lacking else None

    async def run(self, workspace: Workspace, on_progress: Progress) -> Sequence[Track]:
        await combine(workspace, MAIN, [MIX, VOCALS], difference)
        await split(workspace, MAIN, MAIN_HARMONIC, MAIN_PERCUSSIVE, on_progress)
        return [await workspace.store(name) for name in (MAIN, MAIN_HARMONIC, MAIN_PERCUSSIVE)]
