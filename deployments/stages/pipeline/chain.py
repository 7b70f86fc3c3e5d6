"""A pipeline of stages over one track: each makes tracks of tracks; one that fails stops only what needs it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from deployments.audio.decode.errors import AudioError
from deployments.engines.common.errors import EngineBroken, EngineBusy, EngineError
from deployments.export.ffmpeg import ExportError
from deployments.stages.pipeline.workspace import Workspace
from deployments.stages.watch import watch
from storage.domain.jobs import StageRecord, StageState
from storage.domain.model import Failure, Track

logger = logging.getLogger("segue.pipeline")

Progress = Callable[[float], None]


class StageFailed(Exception):
    """A stage cannot do its work on this track, and trying again would not help. The text is for its owner."""


class PipelineStage(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def params(self) -> Mapping[str, Any]:
        """All that its outputs depend on besides its inputs, JSON-able."""
        ...

    @property
    def share(self) -> float:
        """About how much of the whole work it is, against the others' shares."""
        ...

    def missing(self, names: Sequence[str]) -> str | None:
        """What the stage lacks to begin, in words; None where the tracks named are enough."""
        ...

    async def run(self, workspace: Workspace, on_progress: Progress) -> Sequence[Track]:
        """Make tracks and store them. Raises StageFailed, EngineError, ExportError, AudioError for what is the
        stage's own trouble; anything else ends the attempt. Cancelling the task stops within a block."""
        ...


async def run_pipeline(
    stages: Sequence[PipelineStage],
    workspace: Workspace,
    done: Sequence[StageRecord],
    *,
    is_last_attempt: bool,
    on_stage: Callable[[StageRecord], Awaitable[None]],
    on_progress: Progress,
) -> tuple[StageRecord, ...]:
    """Run the stages in order; `on_stage` keeps each one's record before the next begins.

    Only one stage's tracks lie on this machine's disk at a time. What succeeded before (`done`, by earlier
    attempts) with the same parameters is not done again; what failed is tried again. A broken engine ends the
    attempt, but in the last one it fails its stage alone.
    """
    finished = {record.name: record for record in done if record.state is StageState.SUCCEEDED}
    records: list[StageRecord] = []
    whole = sum(stage.share for stage in stages)
    passed = 0.0
    for stage in stages:
        before, share = passed, stage.share

        def report(fraction: float, before: float = before, share: float = share) -> None:
            on_progress((before + share * fraction) / whole)

        earlier = finished.get(stage.name)
        if earlier is not None and dict(earlier.params) == dict(stage.params):
            for track in earlier.tracks:
                workspace.add(track.name, track.blob)
            records.append(earlier)
        else:
            record = await _run_stage(stage, workspace, report, is_last_attempt)
            workspace.clear()
            await on_stage(record)
            records.append(record)
        passed += share
        on_progress(passed / whole)
    return tuple(records)


async def _run_stage(
    stage: PipelineStage, workspace: Workspace, on_progress: Progress, is_last_attempt: bool
) -> StageRecord:
    started_s = time.monotonic()

    def record(state: StageState, tracks: Sequence[Track] = (), error: Failure | None = None) -> StageRecord:
        seconds = round(time.monotonic() - started_s, 3)
        return StageRecord(stage.name, seconds, state, stage.params, tuple(tracks), error)

    lack = stage.missing(workspace.names)
    if lack is not None:
        return record(StageState.SKIPPED, error=Failure("missing-input", lack))
    try:
        with watch().stage(stage.name):
            tracks = await stage.run(workspace, on_progress)
        return record(StageState.SUCCEEDED, tracks)
    except EngineError as error:
        can_help = isinstance(error, EngineBusy) or (isinstance(error, EngineBroken) and not is_last_attempt)
        if can_help:  # to try again
            raise
        failure = Failure("engine-failed", str(error))
    except (StageFailed, AudioError) as error:
        failure = Failure("stage-failed", str(error))
    except ExportError as error:
        logger.warning("stage %s: %s", stage.name, error)  # it may name files of this machine
        failure = Failure("stage-failed", "the files could not be encoded")
    logger.warning("stage %s failed: %s", stage.name, failure.detail)
    return record(StageState.FAILED, error=failure)
