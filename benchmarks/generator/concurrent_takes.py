"""Eight takes that come one after the other, and what their keys and values occupy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median

from benchmarks.generator.batch import FRAME_RATE_HZ, MOST_TAKES, Peak, Wish
from benchmarks.generator.engines import SEGUE, Contestant, Field
from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.generator.models import SMALL
from benchmarks.kit.tables import Row
from benchmarks.kit.turns import take_turns, timed, times_faster
from deployments.engines.music.batching.linear import Precision

COMPANY = Head(
    "company",
    f"{MOST_TAKES} takes that come one after the other",
    "Takes of different lengths, each asked for some steps after the one before. Segue's time is from the first "
    "request to the last frame; `one by one` are the same takes by audiocraft without a pause; `static batch` is "
    "audiocraft with all of them at once, every one as long as the longest, and none begun before all are there.",
)
MEMORY = Head(
    "memory",
    "Keys and values",
    "At the worst moment of the takes above: the tensors that hold keys and values, against what those of each "
    "take must be at its end (2 x layers x 2 rows x positions x width x bytes of the format). Segue keeps keys "
    "and values of the text, too, which audiocraft computes anew for every step.",
)

_ONE_BY_ONE = "one by one"
_STATIC = "static batch"
_COMING = "as they come"

Key = tuple[Contestant, str]


def measure(
    field: Field, findings: Findings, *, rounds: int, frames: Sequence[int], apart_steps: int
) -> None:
    """`frames` of each take; the n-th is asked for n * `apart_steps` steps after the first."""
    model = field.model
    wishes = [Wish(count, index * apart_steps) for index, count in enumerate(frames)]
    peaks: dict[Contestant, Peak] = {}
    static_kv_bytes: list[int] = []

    def one_by_one() -> None:
        for count in frames:
            field.audiocraft.generate(count)

    def static() -> None:
        field.audiocraft.generate(max(frames), takes=len(frames), tell_kv_bytes=static_kv_bytes.append)

    def as_they_come(precision: Precision) -> float:
        outcome = field.segue[precision].generate(wishes)
        peaks[Contestant(SEGUE, precision)] = outcome.peak
        return outcome.took_s

    times_s = take_turns(
        {
            (field.baseline, _ONE_BY_ONE): lambda: timed(one_by_one, model.device),
            (field.baseline, _STATIC): lambda: timed(static, model.device),
            **{
                (Contestant(SEGUE, precision), _COMING): partial(as_they_come, precision)
                for precision in field.segue
            },
        },
        rounds,
    )
    findings.add(COMPANY, *_time_rows(field, times_s, frames))
    needed = sum(model.kv_bytes(count, model.dtype) for count in frames)
    memory = [_memory_row(field.baseline, _STATIC, static_kv_bytes[-1], 0, needed)]
    for precision, batch in field.segue.items():
        contestant = Contestant(SEGUE, precision)
        peak = peaks[contestant]
        needed = sum(model.kv_bytes(count, batch.decoder.kv_dtype) for count in frames)
        memory.append(_memory_row(contestant, _COMING, peak.kv_bytes, peak.text_bytes, needed))
    findings.add(MEMORY, *({"model": model.name, **row} for row in memory))
    if model.name == SMALL and model.device.type == "cpu":
        findings.targets += _targets(field, times_s, memory)


def _time_rows(field: Field, times_s: Mapping[Key, list[float]], frames: Sequence[int]) -> list[Row]:
    return [
        {
            "model": field.model.name,
            "engine": contestant.engine,
            "format": contestant.format,
            "takes": way,
            "s": median(own_s),
            "audio s per s": sum(frames) / FRAME_RATE_HZ / median(own_s),
            f"times {_ONE_BY_ONE}": times_faster(times_s[field.baseline, _ONE_BY_ONE], own_s),
            f"times {_STATIC}": times_faster(times_s[field.baseline, _STATIC], own_s),
        }
        for (contestant, way), own_s in times_s.items()
    ]


def _memory_row(contestant: Contestant, way: str, kv_bytes: int, text_bytes: int, needed_bytes: int) -> Row:
    return {
        "engine": contestant.engine,
        "format": contestant.format,
        "takes": way,
        "MB": kv_bytes / 1e6,
        "MB needed": needed_bytes / 1e6,
        "ratio": kv_bytes / needed_bytes,
        "MB of the text": text_bytes / 1e6,
    }


def _targets(field: Field, times_s: Mapping[Key, list[float]], memory: Sequence[Row]) -> list[Target]:
    serial_s = times_s[field.baseline, _ONE_BY_ONE]
    ratios = {
        contestant.format: times_faster(serial_s, own_s)
        for (contestant, way), own_s in times_s.items()
        if way == _COMING
    }
    exact, best = ratios[Precision.FLOAT32], max(ratios, key=lambda name: ratios[name])
    static_s = times_s[field.baseline, _STATIC]
    together = times_faster(static_s, times_s[Contestant(SEGUE, Precision.FLOAT32), _COMING])
    what = f"{SMALL}, {MOST_TAKES} takes as they come"
    kv_ratio = max(float(row["ratio"]) for row in memory if row["engine"] == SEGUE)
    return [
        Target.at_least(f"{what}, float32: times audiocraft one by one", 18.0, exact),
        Target.at_least(f"{what}, float32: times audiocraft's static batch", 4.0, together),
        Target.at_least(f"{what}, best format: times audiocraft one by one", 18.0, ratios[best], best),
        Target.at_most(f"{what}: keys and values, by what they must be", 1.05, kv_ratio),
    ]
