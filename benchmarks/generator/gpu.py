"""Steps on a GPU, replayed from graphs and called one by one: `python -m benchmarks.generator --device cuda`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from statistics import median

import torch

from benchmarks.generator.batch import FRAME_RATE_HZ, SegueBatch, Wish
from benchmarks.generator.findings import Findings, Head
from benchmarks.generator.machine_limits import read_probe
from benchmarks.generator.models import load_model
from benchmarks.kit.turns import take_turns
from deployments.engines.music.batching.linear import Precision
from deployments.engines.music.protocol import Sampling

MODELS = ("small", "medium")
STREAMS = (1, 8, 32)

GPU = Head(
    "gpu",
    "Steps on a GPU",
    "Guided takes from text only in bfloat16, all from the start; medians of rounds in turns. `first audio` is "
    "12 steps, without the text encoder and the codec. `share` is the weights of a step by its time, against the "
    "speed at which a large tensor is read. `MB` is what the process has allocated at most.",
)


def measure(findings: Findings, *, minutes: float, rounds: int = 5, frames: int = 100) -> None:
    """What has not begun after so many minutes is left out."""
    device, ends_s = torch.device("cuda"), time.monotonic() + 60 * minutes
    read_bytes_per_s = read_probe(device)()
    for name in MODELS:
        model = load_model(name, device)
        for streams in STREAMS:
            if time.monotonic() > ends_s:
                print(f"left out: {name}, {streams} streams", file=sys.stderr)
                continue
            torch.cuda.reset_peak_memory_stats()
            batches = {
                way: SegueBatch(
                    model, Precision.BFLOAT16, Sampling(seed=1), takes=streams, has_graphs=way == "graphs"
                )
                for way in ("graphs", "one by one")
            }
            try:
                for batch in batches.values():
                    batch.generate([Wish(4)] * streams)
                times_s = take_turns(
                    {
                        way: partial(_stepping_s, batch, [Wish(frames)] * streams)
                        for way, batch in batches.items()
                    },
                    rounds,
                )
            finally:
                for batch in batches.values():
                    batch.close()
            for way, own_s in times_s.items():
                step_s = median(own_s) / (model.steps(frames) - 1)
                findings.add(
                    GPU,
                    {
                        "model": name,
                        "steps": way,
                        "streams": streams,
                        "ms a step": step_s * 1000,
                        "first audio (ms)": 12 * step_s * 1000,
                        "times real time, each": 1 / (step_s * FRAME_RATE_HZ),
                        "share (%)": 100 * 2 * model.weights_of_a_step / step_s / read_bytes_per_s,
                        "MB": torch.cuda.max_memory_allocated() / 1e6,
                    },
                )


def _stepping_s(batch: SegueBatch, wishes: Sequence[Wish]) -> float:
    return batch.generate(wishes).stepping_s
