"""Taking in a prompt."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from benchmarks.generator.batch import FRAME_RATE_HZ
from benchmarks.generator.engines import AUDIOCRAFT, SEGUE, Contestant, Field
from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.generator.machine_limits import product_probe
from benchmarks.generator.models import SMALL
from benchmarks.kit.turns import take_turns, times_faster
from deployments.engines.music.batching.engine import PREFILL_POSITIONS
from deployments.engines.music.batching.linear import Precision

PREFILL = Head(
    "prefill",
    "Taking in a prompt",
    "In two rows, until the first token's logits: audiocraft's first step with the prompt, and Segue's decoder in "
    "stretches as in the engine, between which other takes make their steps, and in one piece. "
    "GFLOP/s counts for all what the work needs at least; the peak is the best product of large matrices in the "
    "same rounds and format (in bfloat16 for int8). A prompt is bound by the peak, not by the memory: the share "
    "says how much faster it could still become.",
)


Key = tuple[Contestant, str]
"""An engine, and how it takes the prompt in."""

_WHOLE = "in one piece"


def measure(field: Field, findings: Findings, *, rounds: int, prompt_s: int) -> None:
    columns = prompt_s * FRAME_RATE_HZ + 1
    in_turn = PREFILL_POSITIONS[field.model.device.type]
    whole = columns + field.model.prefix_positions
    contestants = {
        (field.baseline, _WHOLE): lambda: field.audiocraft.prefill_s(columns),
        **_segue(field, columns, f"{in_turn} positions", in_turn),
        **_segue(field, columns, _WHOLE, whole),
    }
    said = take_turns({**contestants, **_peaks(field)}, rounds)
    times_s = {key: said[key] for key in contestants}
    base_s = times_s[field.baseline, _WHOLE]
    flops = field.model.prefill_flops(columns)
    for (contestant, stretch), own_s in times_s.items():
        flops_per_s = flops / median(own_s)
        peak = median(said[_peak(contestant.format)])
        findings.add(
            PREFILL,
            {
                "model": field.model.name,
                "engine": contestant.engine,
                "format": contestant.format,
                "prompt (s)": prompt_s,
                "stretches": stretch,
                "s": median(own_s),
                f"times {AUDIOCRAFT}": times_faster(base_s, own_s),
                "GFLOP/s": flops_per_s / 1e9,
                "peak GFLOP/s": peak / 1e9,
                "share (%)": 100 * flops_per_s / peak,
            },
        )
    if field.model.name == SMALL and field.model.device.type == "cpu":
        exact_s = median(times_s[Contestant(SEGUE, Precision.FLOAT32), _WHOLE])
        share = flops / exact_s / median(said[_peak(Precision.FLOAT32)])
        what = f"{SMALL}, a prompt of {prompt_s} s, nobody else: share of the machine's peak"
        findings.targets.append(Target.at_least(what, 0.85, share))


def _segue(field: Field, columns: int, stretch: str, positions: int) -> dict[Key, Callable[[], float]]:
    measured = field.each_segue(lambda batch: batch.prefill_s(columns, positions))
    return {(contestant, stretch): prefill for contestant, prefill in measured.items()}


def _peaks(field: Field) -> dict[Key, Callable[[], float]]:
    formats = {field.baseline.format, *field.segue}
    return {
        _peak(name): product_probe(field.model.device, Precision(name))
        for name in formats
        if name != Precision.INT8
    }


def _peak(format_: str) -> Key:
    """Weights in int8 are multiplied in bfloat16."""
    return Contestant("peak", Precision.BFLOAT16 if format_ == Precision.INT8 else format_), ""
