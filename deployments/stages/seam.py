"""What a take is joined to: the end of its parent's line, and what earlier takes of the line have found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployments.audio.samples import Samples
from deployments.audio.seam.grid import Grid
from deployments.audio.seam.joiner import LINE_S, TARGET_S, Seam, wanted_room_s
from deployments.audio.seam.joining import Align, Joining
from deployments.audio.seam.leveller import WINDOW_S
from deployments.engines.analysis.rhythm.grid import find_grid
from deployments.engines.music.protocol import EngineInfo, GenerationMode
from deployments.stages.take import Sound
from storage.domain.model import Node


@dataclass(frozen=True, slots=True)
class LineEnd:
    """The end of a line, float32 [channels, samples] in the chain's format, and the node that it ends with."""

    samples: Samples
    rate_hz: int
    parent: Node


def line_end_s(node: Node, parent: Node) -> float:
    """How much of its parent's line a take's seam is made with; 0 where the take does not say how it is joined."""
    joining = Joining.of_params(node.params)
    if joining is None:
        return 0.0
    if joining.align is Align.BEAT and _grid_of(parent) is None:
        return LINE_S
    return TARGET_S if joining.match_loudness and _target_lufs_of(parent) is None else WINDOW_S


def seam_of(node: Node, end: LineEnd, info: EngineInfo) -> Seam | None:
    """None where the take does not say how it is joined."""
    joining = Joining.of_params(node.params)
    if joining is None:
        return None
    grid: Grid | None = None
    if joining.align is Align.BEAT:
        grid = _grid_of(end.parent)
        if grid is None and (found := find_grid(end.samples, end.rate_hz)) is not None:
            grid = found.moved_by(-end.samples.shape[1] / end.rate_hz)
    has_rendering = GenerationMode(node.params["mode"]) is GenerationMode.CONTINUE
    room_s = wanted_room_s(joining, grid, node.duration_s, has_rendering=has_rendering)
    return Seam(
        joining,
        end.samples,
        room_s=max(0.0, min(room_s, info.max_duration_s - node.duration_s)),
        target_lufs=_target_lufs_of(end.parent),
        grid=grid,
    )


def seam_record(sound: Sound) -> dict[str, Any] | None:
    """What provenance keeps of a seam, for people and for the takes that continue from this one."""
    return None if sound.joint is None else {**sound.joint.to_record(), "samples": sound.new.shape[1]}


def _target_lufs_of(parent: Node) -> float | None:
    """The loudness that the line is held to since its first take."""
    target_lufs = _record_of(parent).get("target_lufs")
    return None if target_lufs is None else float(target_lufs)


def _grid_of(parent: Node) -> Grid | None:
    """The grid that the line is held to, in seconds from the parent's end."""
    record = _record_of(parent)
    if record.get("grid") is None or parent.audio is None:
        return None
    return Grid.from_record(record["grid"]).moved_by(-parent.audio.duration_s)


def _record_of(parent: Node) -> Mapping[str, Any]:
    """Empty where the parent was not joined this way, or has other audio than was joined (a part of it)."""
    record = (parent.provenance or {}).get("seam") or {}
    if parent.audio is None or record.get("samples") != parent.audio.samples:
        return {}
    return dict(record)
