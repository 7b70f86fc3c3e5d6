"""Exports of a long line against plain ffmpeg: `python -m benchmarks.export [--quick] [--only PART]`."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks.export.line import RATE_HZ, Line, make_line, options
from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit import machine
from benchmarks.kit.child import Child
from benchmarks.kit.report import Report
from benchmarks.kit.report import options as program_options
from benchmarks.kit.tables import Row
from benchmarks.kit.turns import take_turns, timed, times_faster
from deployments.export.ffmpeg import find_ffmpeg

PACKAGES = ("numpy", "imageio-ffmpeg", "soxr", "scipy")
NODES = 20
SIZE, FPS = "1920x1080", 30

SPEED = Head(
    "speed",
    f"A line of {NODES} nodes as one file",
    "Segue fetches and checks the nodes, renders the seams, encodes, and keeps the file; ffmpeg joins the nodes' "
    "WAVs as they lie on disk (no seams) with the same codec. For mp4 ffmpeg draws `showwaves`. Medians of rounds.",
)
MEMORY = Head(
    "memory",
    "The most memory of the process that exports",
    "A process each, which also makes the line's nodes (30 s each); ffmpeg is a process of its own.",
)

CODECS = {
    "wav": ("-c:a", "pcm_s24le"),
    "mp3": ("-c:a", "libmp3lame", "-b:a", "320k"),
}


@dataclass(frozen=True, slots=True)
class Effort:
    line_s: float
    rounds: int
    minutes: tuple[float, float]


FULL = Effort(600.0, 3, (1.0, 30.0))
QUICK = Effort(20.0, 1, (1.0, 2.0))


def main() -> None:
    parser = program_options("benchmarks.export", "Measure exports of a long line.")
    parser.add_argument("--rounds", type=int, metavar="N", help="measure each so often (3; quick: 1)")
    parser.add_argument("--only", action="append", choices=("wav", "mp3", "mp4", "memory"))
    arguments = parser.parse_args()
    about = machine.describe(PACKAGES)
    effort = QUICK if arguments.quick else FULL
    if arguments.rounds is not None:
        effort = replace(effort, rounds=arguments.rounds)
    parts = arguments.only or ["wav", "mp3", "mp4", "memory"]
    findings = Findings()
    probes = {"before": machine.spin_ratio()}
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder:
        _measure_speed(Path(folder), [part for part in parts if part != "memory"], effort, findings)
    if "memory" in parts:
        _measure_memory(effort, findings)
    probes["after"] = machine.spin_ratio()
    tables = [*findings.tables(), machine.quietness(probes)]
    Report("Segue's exports, measured", about, tables, arguments.quick).give(arguments.json)


def _measure_speed(folder: Path, formats: Sequence[str], effort: Effort, findings: Findings) -> None:
    line = asyncio.run(make_line(folder, NODES, effort.line_s / NODES))
    for name in formats:
        print(f"measuring {name}", file=sys.stderr)
        worked_s: dict[str, list[float]] = {"Segue": [], "ffmpeg": []}
        contestants = {
            "Segue": partial(_counted, worked_s["Segue"], partial(_segue, line, name)),
            "ffmpeg": partial(_counted, worked_s["ffmpeg"], partial(_ffmpeg, line, name, folder)),
        }
        took_s = take_turns(contestants, effort.rounds)
        for by, seconds in took_s.items():
            row: Row = {"format": name, "by": by, "line, s": effort.line_s, "rounds": effort.rounds}
            findings.add(SPEED, {**row, "seconds": median(seconds), "CPU, s": median(worked_s[by])})
        ratio = 1.0 / times_faster(took_s["ffmpeg"], took_s["Segue"])
        if name == "mp4":
            findings.targets.append(Target.at_most("mp4: Segue's time over that of showwaves", 1.0, ratio))
        else:
            findings.targets.append(Target.at_most(f"{name}: Segue's time over ffmpeg's", 1.3, ratio))


def _measure_memory(effort: Effort, findings: Findings) -> None:
    for name, loudness_lufs in (("wav", None), ("mp3", None), ("mp3", -14.0)):
        most = []
        for minutes in effort.minutes:
            print(f"measuring memory: {name}, {minutes:g} min", file=sys.stderr)
            with Child("benchmarks.export.peak") as child:
                said = child.ask(format=name, minutes=minutes, loudness_lufs=loudness_lufs)
            most.append(said["most_mb"])
            row: Row = {
                "format": name,
                "loudness, LUFS": "as it is" if loudness_lufs is None else loudness_lufs,
                "minutes": minutes,
            }
            findings.add(MEMORY, {**row, "at most, MB": said["most_mb"]})
        what = f"{name}{'' if loudness_lufs is None else ', with a loudness'}"
        short, long = effort.minutes
        findings.targets.append(
            Target.at_most(
                f"{what}: memory for {long:g} min over that for {short:g} min", 1.1, most[1] / most[0]
            )
        )


def _counted(worked_s: list[float], work: Callable[[], None]) -> float:
    """Seconds by the clock; those of all processors are appended to `worked_s`, children included."""
    before_s = _processor_s()
    took_s = timed(work, torch.device("cpu"))
    worked_s.append(_processor_s() - before_s)
    return took_s


def _processor_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _segue(line: Line, name: str) -> None:
    asyncio.run(line.export(options(name)))


def _ffmpeg(line: Line, name: str, folder: Path) -> None:
    listed = folder / "files.txt"
    listed.write_text("".join(f"file '{file}'\n" for file in line.files))
    target = folder / f"ffmpeg.{name}"
    head = [str(find_ffmpeg()), "-v", "error", "-y", "-f", "concat", "-safe", "0", "-i", str(listed)]
    if name == "mp4":
        graph = f"[0:a]showwaves=s={SIZE}:r={FPS}:mode=line,format=yuv420p[v]"
        codec = [
            *("-filter_complex", graph, "-map", "[v]", "-map", "0:a"),
            *("-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac", "-b:a", "256k"),
        ]
    else:
        codec = [*CODECS[name], "-ar", str(RATE_HZ)]
    subprocess.run([*head, *codec, str(target)], check=True)


if __name__ == "__main__":
    main()
