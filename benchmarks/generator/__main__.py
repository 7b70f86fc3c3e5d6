"""Segue's MusicGen against audiocraft's: `python -m benchmarks.generator [--quick] [--json FILE]`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from benchmarks.generator import concurrent_takes as generator_company
from benchmarks.generator import gpu
from benchmarks.generator import prefill as generator_prefill
from benchmarks.generator import steps as generator_steps
from benchmarks.generator import whole_engine as generator_whole
from benchmarks.generator.engines import Field
from benchmarks.generator.findings import Findings
from benchmarks.generator.models import CPU_MODELS
from benchmarks.kit import machine
from benchmarks.kit.report import Report, options
from deployments.engines.common.device import Device, choose_device
from deployments.engines.music.audiocraft.importing import import_audiocraft
from deployments.engines.music.audiocraft.quiet import quietly

PACKAGES = ("torch", "audiocraft", "transformers", "numpy")


@dataclass(frozen=True, slots=True)
class Effort:
    """How often everything is repeated, and how long takes are, in frames but for `whole_s`. `company` are eight
    takes that come `apart_steps` after each other: all must be there before the first is over."""

    rounds: int
    frames: int
    deep_steps: int
    company_rounds: int
    company: Sequence[int]
    apart_steps: int
    prefill_rounds: int
    prompt_s: int
    whole_s: float


FULL = Effort(
    rounds=5,
    frames=250,
    deep_steps=16,
    company_rounds=5,
    company=range(40, 88, 6),
    apart_steps=3,
    prefill_rounds=5,
    prompt_s=10,
    whole_s=4.0,
)
QUICK = Effort(
    rounds=2,
    frames=5,
    deep_steps=3,
    company_rounds=1,
    company=range(4, 12),
    apart_steps=0,
    prefill_rounds=1,
    prompt_s=2,
    whole_s=1.0,
)


def main() -> None:
    parser = options("benchmarks.generator", "Measure the generator.")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="of a run on a GPU: begin nothing after these"
    )
    arguments = parser.parse_args()
    device = choose_device(Device(arguments.device))
    about = {**machine.describe(PACKAGES), "torch's threads": str(torch.get_num_threads())}
    if device.type == "cuda":
        about["gpu"] = torch.cuda.get_device_name()
    import_audiocraft()
    effort = QUICK if arguments.quick else FULL
    findings = Findings()
    probes: dict[str, float] = {}

    def run(moment: str, measure: Callable[[], None]) -> None:
        probes[f"before {moment}"] = machine.spin_ratio()
        print(f"measuring: {moment}", file=sys.stderr)
        measure()

    with quietly():
        if device.type == "cuda":
            run("steps on a GPU", lambda: gpu.measure(findings, minutes=arguments.minutes))
            tables = [*findings.tables(), machine.quietness(probes)]
            Report("Segue's generator on a GPU", about, tables, arguments.quick).give(arguments.json)
            return
        for name in CPU_MODELS:
            _measure_model(name, device, effort, findings, run)
        run(
            "the whole engine",
            lambda: generator_whole.measure(findings, rounds=effort.rounds, duration_s=effort.whole_s),
        )
    tables = [*findings.tables(), machine.quietness(probes)]
    Report("Segue's generator, measured", about, tables, arguments.quick).give(arguments.json)


def _measure_model(
    name: str,
    device: torch.device,
    effort: Effort,
    findings: Findings,
    run: Callable[[str, Callable[[], None]], None],
) -> None:
    print(f"building: {name}", file=sys.stderr)
    with Field.of(name, device) as field:
        run(
            f"steps of {name}",
            lambda: generator_steps.measure(
                field, findings, rounds=effort.rounds, frames=effort.frames, deep_steps=effort.deep_steps
            ),
        )
        run(
            f"takes of {name} in company",
            lambda: generator_company.measure(
                field,
                findings,
                rounds=effort.company_rounds,
                frames=effort.company,
                apart_steps=effort.apart_steps,
            ),
        )
        run(
            f"a prompt of {name}",
            lambda: generator_prefill.measure(
                field, findings, rounds=effort.prefill_rounds, prompt_s=effort.prompt_s
            ),
        )


if __name__ == "__main__":
    main()
