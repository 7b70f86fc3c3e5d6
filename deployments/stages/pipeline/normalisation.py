"""Copies of all tracks at one loudness."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployments.audio.loudness import LoudnessMeter
from deployments.audio.normalise import (
    CEILING_DBTP,
    Gain,
    NormaliseMode,
    apply_gain,
    normalising_gain,
)
from deployments.engines.common.describe import plain
from deployments.stages.pipeline.blocks import Progress, blocks_of, combine
from deployments.stages.pipeline.workspace import MIX, Workspace
from storage.domain.model import Track

SUFFIX = "_normalized"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Normalisation:
    """`target_db` is dBTP in mode `peak`, LUFS in mode `lufs`; no true peak ends up above `ceiling_dbtp`."""

    mode: NormaliseMode
    target_db: float
    ceiling_dbtp: float = CEILING_DBTP

    def to_record(self) -> dict[str, Any]:
        record: dict[str, Any] = plain(self)
        return record

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> Normalisation:
        return Normalisation(**{**record, "mode": NormaliseMode(record["mode"])})


class NormalisationStage:
    """Satisfies `PipelineStage`: `{track}_normalized` beside each track but the mix. The gain is in its facts."""

    name = "normalisation"
    share = 1.0

    def __init__(self, wanted: Normalisation) -> None:
        self._wanted = wanted

    @property
    def params(self) -> Mapping[str, Any]:
        return {**self._wanted.to_record(), "version": VERSION}

    def missing(self, names: Sequence[str]) -> str | None:
        return None if any(name != MIX for name in names) else "there is no track to normalise"

    async def run(self, workspace: Workspace, on_progress: Progress) -> Sequence[Track]:
        names = [name for name in workspace.names if name != MIX]
        made = []
        for count, name in enumerate(names, 1):
            made.append(await self._normalise(workspace, name))
            workspace.drop(name, name + SUFFIX)
            on_progress(count / len(names))
        return made

    async def _normalise(self, workspace: Workspace, name: str) -> Track:
        reader = await workspace.read(name)
        meter = LoudnessMeter(reader.rate_hz, reader.channels)
        async for block in blocks_of(reader):
            await asyncio.to_thread(meter.push, block)
        loudness = await asyncio.to_thread(meter.finish)
        gain = normalising_gain(
            loudness, self._wanted.mode, self._wanted.target_db, self._wanted.ceiling_dbtp
        )
        await combine(workspace, name + SUFFIX, [name], lambda signals: apply_gain(signals[0], gain))
        return await workspace.store(name + SUFFIX, {"of": name, **_described(gain)})


def _described(gain: Gain) -> dict[str, Any]:
    """For the manifest, in decibels. `measured_db` is null where the track is too quiet or short to be measured."""
    return {
        "gain_db": gain.gain_db,
        "limited_by_ceiling": gain.limited_by_ceiling,
        "measured_db": gain.measured_db,
        "reached_db": gain.reached_db,
    }
