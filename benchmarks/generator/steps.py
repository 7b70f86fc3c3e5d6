"""A step of one take, and at what share of the memory's speed it reads the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

from torch import Tensor

from benchmarks.generator.batch import Wish
from benchmarks.generator.engines import AUDIOCRAFT, SEGUE, TRANSFORMERS, Contestant, Field, Times
from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.generator.machine_limits import read_probe
from benchmarks.generator.models import SMALL
from benchmarks.kit.tables import Row
from benchmarks.kit.turns import take_turns, timed, times_faster
from deployments.engines.music.batching.linear import Precision

PAST_POSITIONS = 1400

STEP = Head(
    "step",
    "A step of one take",
    "One guided take (two rows): the mean over all its steps with drawing, medians over the rounds. From text "
    "only it is audiocraft's `LMModel.generate`, `MusicgenForCausalLM.generate` of transformers with the very "
    f"same weights, and Segue's batch with a single take. At {PAST_POSITIONS} positions the past is made up, "
    "and audiocraft is asked for its `_sample_next_token`. Ratios are medians over the rounds. "
    "`frames alike`: how many frames from the start on are audiocraft's, to the token, when both always take "
    "the likeliest.",
)
BANDWIDTH = Head(
    "bandwidth",
    "Share of the memory's speed",
    "The weights that a step multiplies with, by the step's time from text only, against the speed at which "
    "torch's threads read 512 MiB in the same rounds: the best of a sum, a product with itself and a matrix "
    "product with two rows. It means nothing for a model that fits the processor's caches.",
)

_READING = Contestant("memory", "")
_WEIGHT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}

WANTED = {Precision.FLOAT32: 5.0, Precision.BFLOAT16: 7.0, Precision.INT8: 9.0}
"""A step of one take, as many times audiocraft's."""


def measure(field: Field, findings: Findings, *, rounds: int, frames: int, deep_steps: int) -> None:
    device, steps = field.model.device, field.model.steps(frames)
    contestants = field.each(
        lambda audiocraft: timed(lambda: audiocraft.generate(frames), device) / steps,
        lambda transformers: timed(lambda: transformers.generate(frames), device) / steps,
        lambda batch: batch.generate([Wish(frames)]).took_s / steps,
    )
    times_s = take_turns({_READING: read_probe(device), **contestants}, rounds)
    read_bytes_per_s = median(times_s.pop(_READING))
    alike = _frames_alike(field, frames)
    findings.add(STEP, *_step_rows(field, f"text only, {frames} frames", times_s, alike))
    findings.add(BANDWIDTH, *_bandwidth_rows(field, times_s, read_bytes_per_s))
    deep_times_s = take_turns(
        field.each(
            lambda audiocraft: audiocraft.step_s(PAST_POSITIONS, deep_steps),
            lambda transformers: transformers.step_s(PAST_POSITIONS, deep_steps),
            lambda batch: batch.step_s(PAST_POSITIONS, deep_steps),
        ),
        rounds,
    )
    findings.add(STEP, *_step_rows(field, f"{PAST_POSITIONS} positions", deep_times_s, {}))
    if field.model.name == SMALL and device.type == "cpu":
        findings.targets += _targets(field, times_s, read_bytes_per_s, alike, frames)


def _frames_alike(field: Field, frames: int) -> dict[Contestant, int]:
    expected = field.audiocraft.generate(frames, greedy=True)[0]
    tokens: dict[Contestant, Tensor] = {
        Contestant(SEGUE, precision): batch.generate([Wish(frames)], greedy=True).tokens[0]
        for precision, batch in field.segue.items()
    }
    if field.transformers is not None:
        tokens[field.second_baseline] = field.transformers.generate(frames, greedy=True)[0]
    return {contestant: _alike_from_start(own, expected) for contestant, own in tokens.items()}


def _alike_from_start(own: Tensor, expected: Tensor) -> int:
    """int64 [K, frames] both"""
    differs = (own != expected).any(dim=0).nonzero()
    return int(differs[0]) if len(differs) else expected.shape[1]


def _step_rows(field: Field, past: str, times_s: Times, alike: Mapping[Contestant, int]) -> list[Row]:
    return [
        {
            "model": field.model.name,
            "past": past,
            "engine": contestant.engine,
            "format": contestant.format,
            "ms a step": median(own_s) * 1000,
            f"times {AUDIOCRAFT}": times_faster(times_s[field.baseline], own_s),
            f"times {TRANSFORMERS}": _times_second(field, times_s, own_s),
            "frames alike": alike.get(contestant, math.nan),
        }
        for contestant, own_s in times_s.items()
    ]


def _times_second(field: Field, times_s: Times, own_s: list[float]) -> float:
    second_s = times_s.get(field.second_baseline)
    return math.nan if second_s is None else times_faster(second_s, own_s)


def _bandwidth_rows(field: Field, times_s: Times, read_bytes_per_s: float) -> list[Row]:
    return [
        {
            "model": field.model.name,
            "engine": contestant.engine,
            "format": contestant.format,
            "MB of weights": _weight_bytes(field, contestant) / 1e6,
            "GB/s": _weight_bytes(field, contestant) / median(own_s) / 1e9,
            "GB/s of the memory": read_bytes_per_s / 1e9,
            "share (%)": 100 * _weight_bytes(field, contestant) / median(own_s) / read_bytes_per_s,
        }
        for contestant, own_s in times_s.items()
    ]


def _weight_bytes(field: Field, contestant: Contestant) -> int:
    return field.model.weights_of_a_step * _WEIGHT_BYTES[contestant.format]


def _targets(
    field: Field, times_s: Times, read_bytes_per_s: float, alike: Mapping[Contestant, int], frames: int
) -> list[Target]:
    base_s = times_s[field.baseline]
    exact = Contestant(SEGUE, Precision.FLOAT32)
    ratios = {
        contestant.format: times_faster(base_s, own_s)
        for contestant, own_s in times_s.items()
        if contestant.engine == SEGUE
    }
    share = _weight_bytes(field, exact) / median(times_s[exact]) / read_bytes_per_s
    return [
        *(
            Target.at_least(f"{SMALL}, one take, {name}: times audiocraft", wanted, ratios[name])
            for name, wanted in WANTED.items()
        ),
        Target.at_least(f"{SMALL}, one take, float32: frames that are audiocraft's", frames, alike[exact]),
        Target.at_least(f"{SMALL}, one take, float32: share of the memory's speed", 0.8, share),
    ]
