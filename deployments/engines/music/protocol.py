"""What a music generator is, whatever model is behind it: numpy in, numpy out.

A stage calls `generate` on something that satisfies `MusicGenerator`; whether that is an engine in the same
process or a Serve handle to a replica on a GPU makes no difference to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from deployments.audio.samples import Samples
from deployments.engines.common.describe import Described
from deployments.engines.common.hosted import Hosted


class GenerationMode(StrEnum):
    """What a generation is conditioned on besides its prompt's text.

    `text`: nothing. `continue`: continues from the context's audio (on a melody model also along its melody).
    `melody`: follows the context's melody without continuing its sound. `compose`: as `text`, with a prompt
    made from an analysis.
    """

    TEXT = "text"
    CONTINUE = "continue"
    MELODY = "melody"
    COMPOSE = "compose"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. `top_k` 0 means no limit; `top_p` 0 means off. cfg_coef 1.0 means no guidance."""

    seed: int
    cfg_coef: float = 3.0
    temperature: float = 1.0
    top_k: int = 250
    top_p: float = 0.0


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One take. `context` is float32 [channels, samples] at the engine's own rate and channels, at most what
    the model can take; None in `text` and `compose` modes. Where takes wait, those of different `client`s take
    turns, a client of `weight` 2 two for one."""

    request_id: str
    mode: GenerationMode
    prompt: str
    duration_s: float
    sampling: Sampling
    context: Samples | None = None
    client: str = ""
    weight: int = 1


@dataclass(frozen=True, slots=True)
class GenerationProgress:
    """`fraction` 0..1 of the work done so far."""

    fraction: float


@dataclass(frozen=True, slots=True)
class Prefilled:
    """The model has taken in its context. `reconstruction` is the codec's own rendering of the context's end
    (float32 [channels, samples], ending exactly where the new audio begins); empty (0 samples) where there is
    no audio prompt. It comes once, before the first segment."""

    reconstruction: Samples


@dataclass(frozen=True, slots=True)
class Segment:
    """The next stretch of new audio, float32 [channels, samples] at the engine's rate."""

    samples: Samples


GenerationEvent = GenerationProgress | Prefilled | Segment


@dataclass(frozen=True, slots=True)
class EngineInfo(Described):
    """What a loaded engine is; provenance keeps all of it.

    `weights_sha256` is over the tensors themselves (names, dtypes, shapes, bytes), so it does not change with
    the file format. `reproducible`: the same request gives the same bytes in any replica of this engine.
    """

    model: str
    engine: str
    engine_version: str
    weights_sha256: str
    licence: str
    sample_rate_hz: int
    channels: int
    max_context_s: float
    max_duration_s: float
    modes: tuple[GenerationMode, ...]
    device: str
    dtype: str
    reproducible: bool


class MusicGenerator(Protocol):
    """Anything that makes takes: an engine, or a handle to a replica that has one."""

    def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        """Progress, then one `Prefilled`, then segments that add up to at least
        ceil(duration_s * sample_rate_hz) new samples; progress may come in between at any time.

        Closing the iterator (or cancelling the task that runs it) stops the work at the model's next step.
        Raises EngineError.
        """
        ...

    async def info(self) -> EngineInfo: ...


class Engine(MusicGenerator, Hosted[EngineInfo], Protocol):
    """A model loaded in this process."""
