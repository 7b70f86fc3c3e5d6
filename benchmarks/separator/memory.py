"""The memory that separation takes by the length of the track."""

from __future__ import annotations

from pathlib import Path

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit.child import Child
from benchmarks.separator.models import SEGUE, Effort, noise
from deployments.engines.separation.demucs.tiny import TINY_MODELS

MODEL = TINY_MODELS[0]

MEMORY = Head(
    "memory",
    "Memory by the length of the track",
    f"Each track in a fresh process, by `{MODEL}`, a network small enough for half an hour to be short; all four "
    "stems, written to files as they come. `peak MB` is the most that the process's memory ever was, `of it for "
    "the track` less what it was with the model loaded and warm.",
)


def measure(folder: Path, effort: Effort, findings: Findings) -> None:
    peaks_mb: list[float] = []
    for minutes in effort.minutes:
        track = noise(folder, minutes * 60)
        with Child("benchmarks.separator.alone", MODEL) as child:
            answer = child.ask(track=str(track.path))
        track.path.unlink()
        peaks_mb.append(answer["peak_mb"])
        findings.add(
            MEMORY,
            {
                "track": f"{minutes:g} min",
                "separated by": SEGUE,
                "s": answer["took_s"],
                "times real time": minutes * 60 / answer["took_s"],
                "peak MB": answer["peak_mb"],
                "of it for the track": answer["peak_mb"] - answer["before_mb"],
            },
        )
    short, long = effort.minutes
    what = f"peak memory of {long:g} minutes, times that of {short:g}"
    findings.targets.append(Target.at_most(what, 1.2, peaks_mb[1] / peaks_mb[0], f"`{MODEL}`"))
