"""What a source separator is, whatever model is behind it: one segment in, the sources' shares of it out.

A separator knows nothing of tracks: it is given stretches of audio that are a few seconds long, and remembers
none of them. `whole.separate_track` cuts a track into such segments and puts the answers together, so a track
of any length passes through any number of replicas, and a replica that dies costs one segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples
from deployments.engines.common.describe import Described
from deployments.engines.common.hosted import Hosted

Estimates = npt.NDArray[np.float32]
"""What each source has of a segment: float32 [sources, channels, samples]."""


class Padding(StrEnum):
    """How long a network wants its segments, as `demucs.apply.apply_model` does it.

    `whole` and `asked`: as long as the pass's segments, where a length for them was asked for; else a part that
    is `whole` wants them as its longest, one that is `asked` as long as they come. `none`: as long as they come.
    `strided`: the next length at which its convolutions leave nothing over.
    """

    WHOLE = "whole"
    ASKED = "asked"
    NONE = "none"
    STRIDED = "strided"


@dataclass(frozen=True, slots=True)
class Strides(Described):
    """The convolutions of a time-domain Demucs, for `Padding.STRIDED`."""

    depth: int
    kernel_samples: int
    stride_samples: int
    resamples: bool


@dataclass(frozen=True, slots=True)
class Part(Described):
    """One network of a model. `weights` has a number per source: a source's estimate is the mean of the parts'
    under these weights. A part whose weight for every wanted source is 0 need not be asked at all.

    Segments are `segment_samples` long unless a shorter length is asked for, never longer than
    `longest_samples`.
    """

    segment_samples: int
    longest_samples: int
    weights: tuple[float, ...]
    padding: Padding
    strides: Strides | None = None


@dataclass(frozen=True, slots=True)
class SeparatorInfo(Described):
    """What a loaded separator is; provenance keeps all of it.

    `weights_sha256` is over the tensors themselves (names, dtypes, shapes, bytes) of all parts, as they were
    loaded. `reproducible`: the same segment gives the same bytes in any replica of this engine.
    """

    model: str
    engine: str
    engine_version: str
    weights_sha256: str
    licence: str
    sample_rate_hz: int
    channels: int
    sources: tuple[str, ...]
    parts: tuple[Part, ...]
    device: str
    dtype: str
    reproducible: bool


@dataclass(frozen=True, slots=True)
class SegmentRequest:
    """A segment for one part. `samples` is float32 [channels, samples] at the model's rate, normalised over its
    whole track and padded with the audio around it (see `plan`). `sources` says which estimates are wanted.
    `request_id` names the track: segments of one have the same, so that tracks can take turns."""

    request_id: str
    part: int
    samples: Samples
    sources: tuple[str, ...]


class Separator(Protocol):
    """Anything that separates segments: an engine, or a handle to a replica that has one."""

    async def separate(self, segment: SegmentRequest) -> Estimates:
        """The wanted sources in the request's order, each as long as the request's samples.

        Cancelling the task gives up the segment if it has not been begun. Raises EngineError.
        """
        ...

    async def info(self) -> SeparatorInfo: ...


class SeparatorEngine(Separator, Hosted[SeparatorInfo], Protocol):
    """A model loaded in this process."""
