"""Split a track into what lasts and what strikes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from deployments.audio.hpss import StreamingHpss
from deployments.stages.pipeline.blocks import Progress, blocks_of
from deployments.stages.pipeline.workspace import MIX, Workspace
from storage.domain.model import Track

HARMONIC, PERCUSSIVE = "harmonic", "percussive"
VERSION = 1


class HarmonicPercussiveStage:
    """Satisfies `PipelineStage`: `harmonic` and `percussive` of the whole mix, which add up to it."""

    name = "harmonic_percussive"
    share = 1.5

    @property
    def params(self) -> Mapping[str, Any]:
        return {"version": VERSION}

    def missing(self, names: Sequence[str]) -> str | None:
        return None if MIX in names else "the mix is missing"

    async def run(self, workspace: Workspace, on_progress: Progress) -> Sequence[Track]:
        await split(workspace, MIX, HARMONIC, PERCUSSIVE, on_progress)
        return [await workspace.store(name) for name in (HARMONIC, PERCUSSIVE)]


async def split(
    workspace: Workspace, source: str, harmonic: str, percussive: str, on_progress: Progress
) -> None:
    """Write the harmonic and the percussive part of a track as two tracks of its format and length."""
    reader = await workspace.read(source)
    parts = StreamingHpss(reader.channels)
    form = reader.rate_hz, reader.channels
    with workspace.create(harmonic, *form) as lasting, workspace.create(percussive, *form) as striking:

        def step(block: Any) -> None:
            made = parts.finish() if block is None else parts.push(block)
            lasting.append(made.harmonic)
            striking.append(made.percussive)

        async for block in blocks_of(reader):
            await asyncio.to_thread(step, block)
            on_progress(min(1.0, lasting.samples / reader.samples))
        await asyncio.to_thread(step, None)
