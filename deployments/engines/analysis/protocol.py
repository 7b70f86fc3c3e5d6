"""What an analyser is, whatever is behind it: samples in, an `Analysis` out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from deployments.audio.samples import Samples
from deployments.engines.analysis.analysis import Analysis
from deployments.engines.common.describe import Described
from deployments.engines.common.hosted import Hosted


@dataclass(frozen=True, slots=True)
class AnalysisRequest:
    """A clip as float32 [channels, samples] (one channel or two) at `rate_hz`, 4 to 192 kHz.

    The melody costs more than all the rest, so it is optional.
    """

    request_id: str
    samples: Samples
    rate_hz: int
    wants_melody: bool = True


@dataclass(frozen=True, slots=True)
class AnalyserInfo(Described):
    """What a loaded analyser is; an analysis is stored with all of it.

    `methods` names what answers each part (`rhythm`, `key`, `emotion`, `style`, `melody`). `engine_version`
    counts with every change that gives another answer for the same clip.
    """

    model: str
    engine_version: str
    methods: dict[str, str]
    weights_sha256: str
    device: str


class Analyser(Protocol):
    """Anything that analyses clips: an engine, or a handle to a replica that has one."""

    async def analyse(self, request: AnalysisRequest) -> Analysis:
        """Cancelling the task gives up the work where it stands, at latest with the part that is being worked
        on. Raises EngineError."""
        ...

    async def info(self) -> AnalyserInfo: ...


class AnalyserEngine(Analyser, Hosted[AnalyserInfo], Protocol):
    """An analyser loaded in this process."""
