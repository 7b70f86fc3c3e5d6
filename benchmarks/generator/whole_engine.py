"""The tiny checkpoint through the whole engine: requests in, audio out."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.generator.batch import FRAME_RATE_HZ
from benchmarks.generator.engines import AUDIOCRAFT, SEGUE
from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.generator.models import TINY
from benchmarks.kit.turns import take_turns, times_faster
from configs.environment import load_settings
from deployments.engines.common.device import Device
from deployments.engines.music.audiocraft.tiny_configs import CODEBOOKS, WINDOW_S
from deployments.engines.music.catalog import EngineKind, EngineOptions, find
from deployments.engines.music.load import load
from deployments.engines.music.meter import BatchState, NoMeter
from deployments.engines.music.protocol import Engine, GenerationMode, GenerationRequest, Sampling, Segment
from deployments.engines.music.windows import GenerationPlan

WHOLE = Head(
    "whole",
    "The tiny model through the whole engine",
    "The same request, from text only, to both engines' `generate`, one at a time with one thread: text encoder, "
    "model, codec and events. `steps` are those of the model; audiocraft makes some more, to keep the end of its "
    "delay pattern out of the audio. First audio is what the caller has of the take, so for audiocraft the whole.",
)


_ENGINES = {AUDIOCRAFT: EngineKind.AUDIOCRAFT, SEGUE: EngineKind.SEGUE}


@dataclass(frozen=True, slots=True)
class _Heard:
    took_s: float
    first_audio_s: float


class _Steps(NoMeter):
    """Of the last take: how many there were, and how many until its first audio. One comes with the prompt, and
    a take is finished within its last, before that is told."""

    made = 0
    until_audio = 0

    def admitted(self, *, waited_s: float) -> None:
        self._told = 0

    def stepped(self, state: BatchState, *, seconds: float) -> None:
        self._told += 1

    def first_audio(self, *, after_s: float, steps: int) -> None:
        self.until_audio = steps

    def finished(self, *, audio_s: float, after_s: float) -> None:
        self.made = 1 + self._told + 1


def measure(findings: Findings, *, rounds: int, duration_s: float) -> None:
    steps = _Steps()
    engines = {
        name: load(
            find(TINY, kind),
            cache_dir=Path(load_settings().models.cache_dir),
            options=EngineOptions(device=Device.CPU, threads=1),
            meter=steps,
        )
        for name, kind in _ENGINES.items()
    }
    heard: dict[str, list[_Heard]] = {name: [] for name in engines}
    with asyncio.Runner() as runner:

        def take(name: str) -> float:
            heard[name].append(runner.run(_hear(engines[name], duration_s)))
            return heard[name][-1].took_s

        for engine in engines.values():
            runner.run(engine.warm_up())
        take_turns({name: partial(take, name) for name in engines}, rounds)
        for engine in engines.values():
            runner.run(engine.close())
    stock_steps = _stock_steps(duration_s)
    made = {AUDIOCRAFT: (stock_steps, stock_steps), SEGUE: (steps.made, steps.until_audio)}
    steps_s = {name: [one.took_s / made[name][0] for one in heard[name]] for name in engines}
    for name, takes in heard.items():
        of_take, of_first = made[name]
        findings.add(
            WHOLE,
            {
                "engine": name,
                "take (ms)": median(one.took_s for one in takes) * 1000,
                "steps": of_take,
                "ms a step": median(steps_s[name]) * 1000,
                f"step: times {AUDIOCRAFT}": times_faster(steps_s[AUDIOCRAFT], steps_s[name]),
                f"take: times {AUDIOCRAFT}": times_faster(
                    [one.took_s for one in heard[AUDIOCRAFT]], [one.took_s for one in takes]
                ),
                "first audio (steps)": of_first,
                "first audio (ms)": median(one.first_audio_s for one in takes) * 1000,
            },
        )
    ratio = times_faster(steps_s[AUDIOCRAFT], steps_s[SEGUE])
    findings.targets.append(Target.at_least(f"{TINY}, whole engine, a step: times audiocraft", 4.0, ratio))


async def _hear(engine: Engine, duration_s: float) -> _Heard:
    request = GenerationRequest(
        "benchmark", GenerationMode.TEXT, "slow jazz piano", duration_s, Sampling(seed=1)
    )
    began_s = time.perf_counter()
    first_audio_s = math.nan
    async for event in engine.generate(request):
        if isinstance(event, Segment) and math.isnan(first_audio_s):
            first_audio_s = time.perf_counter() - began_s
    return _Heard(time.perf_counter() - began_s, first_audio_s)


def _stock_steps(duration_s: float) -> int:
    plan = GenerationPlan(
        prompt=0,
        new=math.ceil(duration_s * FRAME_RATE_HZ),
        window=WINDOW_S * FRAME_RATE_HZ,
        stride=WINDOW_S * FRAME_RATE_HZ,
        pattern_delay=CODEBOOKS - 1,
    )
    return plan.steps
