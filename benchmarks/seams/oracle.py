"""A generator that knows how a recording goes on, and goes on wrongly: with faults that were planted in it."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.signal import correlate

from deployments.audio.samples import Samples
from deployments.engines.music.protocol import (
    EngineInfo,
    GenerationEvent,
    GenerationMode,
    GenerationRequest,
    Prefilled,
    Segment,
)

RATE_HZ = 32_000
RENDERED_S = 3.0
CLICK = np.array([0.5, 0.5, 0.5, -0.6, -0.6, -0.6, 0.4, 0.4, 0.4], np.float32)

Recording = Callable[[float], Samples]
"""The recording, float32 [1, samples] at 32 kHz, played so many times as fast at its own pitch."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with a take. `gain_db`, `late_s` and `dc` are the codec's, of its rendering and of the new
    audio alike; the others are the new audio's alone: `swell_db` louder at its end, `click` a burst at its
    beginning, `tempo` times as fast, `behind_s` off the recording."""

    gain_db: float = 0.0
    late_s: float = 0.0
    dc: float = 0.0
    swell_db: float = 0.0
    click: bool = False
    tempo: float = 1.0
    behind_s: float = 0.0


@dataclass
class Oracle:
    """Satisfies `MusicGenerator`. Goes on from `at_s` of the recording; with `follows` from where it finds the end
    of its context near there, and as loud as that is, so that errors add up from take to take as a model's do."""

    recording: Recording
    faults: Faults = field(default_factory=Faults)
    at_s: float = 0.0
    follows: bool = True

    async def info(self) -> EngineInfo:
        return EngineInfo(
            model="fake",
            engine="oracle",
            engine_version="1",
            weights_sha256="0" * 64,
            licence="MIT",
            sample_rate_hz=RATE_HZ,
            channels=1,
            max_context_s=30.0,
            max_duration_s=300.0,
            modes=(GenerationMode.CONTINUE,),
            device="cpu",
            dtype="float32",
            reproducible=True,
        )

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        assert request.context is not None
        rendering, new = self.signal(request.context, request.duration_s)
        yield Prefilled(rendering)
        for start in range(0, new.shape[1], RATE_HZ // 2):
            yield Segment(new[:, start : start + RATE_HZ // 2])

    def signal(self, context: Samples, duration_s: float) -> tuple[Samples, Samples]:
        """The rendering of the context's end, and the new audio."""
        truth = self.recording(1.0)
        at, level = round(self.at_s * RATE_HZ), 1.0
        if self.follows:
            at, level = _found(truth, context, at)
        late = round(self.faults.late_s * RATE_HZ)
        rendered = min(context.shape[1], round(RENDERED_S * RATE_HZ))
        count = math.ceil(duration_s * RATE_HZ)
        before = _piece(truth, at - rendered - late, rendered)
        played = self.recording(self.faults.tempo)
        begins = round((at - self.faults.behind_s * RATE_HZ) / self.faults.tempo)
        after = _piece(played, begins - late, count)
        if late > 0 and (self.faults.tempo != 1.0 or self.faults.behind_s):
            after[:, :late] = _piece(truth, at - late, late)
        gain = level * 10 ** (self.faults.gain_db / 20)
        swell = gain * 10 ** (self.faults.swell_db * np.arange(count) / count / 20)
        rendering = (before * gain + self.faults.dc).astype(np.float32)
        new = (after * swell + self.faults.dc).astype(np.float32)
        if self.faults.click:
            new[:, : len(CLICK)] += CLICK
        return rendering, new


def line_of(recording: Recording, start_s: float, end_s: float) -> Samples:
    """What the line should be."""
    return _piece(recording(1.0), round(start_s * RATE_HZ), round((end_s - start_s) * RATE_HZ))


def _piece(samples: Samples, start: int, count: int) -> Samples:
    """Silence where there is nothing."""
    there = samples[:, max(0, start) : max(0, start + count)]
    missing = max(0, -start)
    return np.pad(there, ((0, 0), (missing, count - missing - there.shape[1])))


def _found(truth: Samples, context: Samples, expected: int) -> tuple[int, float]:
    """Where in the truth the context ends, within 0.2 s of `expected`, and how much louder it is there."""
    length, reach = min(RATE_HZ, context.shape[1]), RATE_HZ // 5
    end = context[0, context.shape[1] - length :].astype(np.float64)
    around = _piece(truth, expected - length - reach, length + 2 * reach)[0].astype(np.float64)
    products = correlate(around, end, mode="valid", method="fft")
    squares = np.cumsum(np.square(np.pad(around, (1, 0))))
    power = np.maximum(squares[length:] - squares[:-length], 1e-9)
    likeness = products / np.sqrt(power * max(1e-9, float(end @ end)))
    at = int(np.argmax(likeness))
    if likeness[at] < 0.2:
        at = reach
    end -= end.mean()
    heard = around[at : at + length]
    level = math.sqrt(float(np.mean(np.square(end))) / max(1e-9, float(np.var(heard))))
    return expected - reach + at, level


def recording_of(samples: Samples, others: Sequence[tuple[float, Samples]] = ()) -> Recording:
    """A recording from its samples at 32 kHz, and from those at other tempos."""
    played = {1.0: samples, **dict(others)}
    return lambda tempo: played[tempo]
