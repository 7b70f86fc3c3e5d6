"""Segue's separation beside Demucs's own: `python -m benchmarks.separator [--quick] [--json FILE]`."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.generator.findings import Findings
from benchmarks.kit import machine
from benchmarks.kit.report import Report, options
from benchmarks.separator import memory as separator_memory
from benchmarks.separator.clips import measure_bag, measure_company, measure_one
from benchmarks.separator.models import FULL, QUICK


def main() -> None:
    arguments = options("benchmarks.separator", "Measure source separation.").parse_args()
    effort = QUICK if arguments.quick else FULL
    about = {
        **machine.describe(("torch", "demucs", "numpy")),
        "torch's threads": str(torch.get_num_threads()),
    }
    findings = Findings()
    probes: dict[str, float] = {}
    clips = {"one clip": measure_one, "one stem of a bag": measure_bag, "clips at once": measure_company}
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as name:
        folder = Path(name)
        for what, measure in clips.items():
            _begin(what, probes)
            asyncio.run(measure(folder, effort, findings))
        _begin("memory", probes)
        separator_memory.measure(folder, effort, findings)
    probes["after"] = machine.spin_ratio()
    tables = [*findings.tables(), machine.quietness(probes)]
    Report("Segue's separator, measured", about, tables, arguments.quick).give(arguments.json)


def _begin(what: str, probes: dict[str, float]) -> None:
    probes[f"before {what}"] = machine.spin_ratio()
    print(f"measuring: {what}", file=sys.stderr)


if __name__ == "__main__":
    main()
