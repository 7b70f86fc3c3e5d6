"""Where a step of the decoder spends its time: `python -m benchmarks.generator.profile [--quick] [--json FILE]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from statistics import median

import torch
from torch import Tensor

from benchmarks.generator.batch import MOST_TAKES, SegueBatch, Wish
from benchmarks.generator.findings import Findings, Head
from benchmarks.generator.machine_limits import read_probe
from benchmarks.generator.models import CPU_MODELS, Model, load_model
from benchmarks.kit import machine
from benchmarks.kit.report import Report, options
from benchmarks.kit.tables import Row
from benchmarks.kit.turns import timed
from deployments.engines.music.audiocraft.importing import import_audiocraft
from deployments.engines.music.audiocraft.quiet import quietly
from deployments.engines.music.batching.engine import use_threads
from deployments.engines.music.batching.linear import Linear, Precision
from deployments.engines.music.protocol import Sampling

PACKAGES = ("torch", "audiocraft", "numpy")
PRECISIONS = (Precision.FLOAT32, Precision.BFLOAT16, Precision.INT8)
WEIGHT_BYTES = {Precision.FLOAT32: 4, Precision.BFLOAT16: 2, Precision.INT8: 1}
COMPANIES = (1, MOST_TAKES)
"""Takes at once; each is guided, so it has two rows."""

PROFILE = Head(
    "profile",
    "Where a step goes",
    "Guided takes from text only, medians of the rounds. `products`: the step's matrix products alone, called one "
    "after the other on rows of noise. `reading`: how long the memory takes to deliver their weights, at the speed "
    "at which torch's threads read 512 MiB in the same rounds; no step can be quicker, unless weights stay in "
    "caches. `rest`: the step without its products: attention, norms, drawing, and Python. `rows` is how many a "
    "product has at least, so that no row's bits depend on the others.",
)


def main() -> None:
    arguments = options("benchmarks.generator.profile", "Profile the decoder's steps.").parse_args()
    rounds, frames = (1, 4) if arguments.quick else (5, 50)
    import_audiocraft()
    findings = Findings()
    probes: dict[str, float] = {}
    cpu = torch.device("cpu")
    about = {**machine.describe(PACKAGES), "torch's threads": str(torch.get_num_threads())}
    with quietly():
        for name in CPU_MODELS:
            probes[f"before {name}"] = machine.spin_ratio()
            print(f"measuring: {name}", file=sys.stderr)
            model = load_model(name, cpu)
            for precision in PRECISIONS:
                findings.add(PROFILE, *_profile(model, precision, rounds, frames))
    probes["after"] = machine.spin_ratio()
    tables = [*findings.tables(), machine.quietness(probes)]
    Report("Where the generator's time goes", about, tables, arguments.quick).give(arguments.json)


def _profile(model: Model, precision: Precision, rounds: int, frames: int) -> list[Row]:
    threads = torch.get_num_threads()
    batch = SegueBatch(model, precision, Sampling(seed=1))
    try:
        use_threads(model.threads)
        read = read_probe(model.device)
        linears = batch.decoder.linears
        steps = model.steps(frames)
        rows: list[Row] = []
        batch.generate([Wish(4)])
        for takes in COMPANIES:
            inputs = [torch.randn(2 * takes, linear.in_features) for linear in linears]
            step_s, products_s, read_bytes_per_s = [], [], []
            for _ in range(rounds):
                read_bytes_per_s.append(read())
                step_s.append(batch.generate([Wish(frames)] * takes).took_s / steps)
                products_s.append(min(timed(partial(_call, linears, inputs), model.device) for _ in range(3)))
            weights_mb = (
                sum(each.in_features * each.out_features for each in linears) * WEIGHT_BYTES[precision] / 1e6
            )
            step_ms, products_ms = median(step_s) * 1000, median(products_s) * 1000
            reading_ms = weights_mb * 1e9 / median(read_bytes_per_s)
            rows.append(
                {
                    "model": model.name,
                    "format": precision.value,
                    "takes": takes,
                    "rows": max(2 * takes, *(linear.rows_at_least for linear in linears)),
                    "ms a step": step_ms,
                    "products (ms)": products_ms,
                    "reading (ms)": reading_ms,
                    "rest (ms)": step_ms - products_ms,
                    "products' share of the memory's speed (%)": 100 * reading_ms / products_ms,
                }
            )
        return rows
    finally:
        batch.close()
        use_threads(threads)


@torch.inference_mode()
def _call(linears: Sequence[Linear], inputs: Sequence[Tensor]) -> None:
    for linear, x in zip(linears, inputs, strict=True):
        linear(x)


if __name__ == "__main__":
    main()
