"""Segue's analysis on music of known truth: `python -m benchmarks.analysis [--quick] [--json FILE]`.

Needs FluidSynth and a sound font (Debian's `fluidsynth` and `fluid-soundfont-gm`).
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

from benchmarks.analysis import key as analysis_key
from benchmarks.analysis import melody as analysis_melody
from benchmarks.analysis import rhythm as analysis_rhythm
from benchmarks.analysis import speed as analysis_speed
from benchmarks.generator.findings import Findings
from benchmarks.kit import machine
from benchmarks.kit.report import Report, options
from deployments.engines.analysis.rhythm.onsets import RATE_HZ
from training.corpus.clips import DEV_SEEDS, TEST_SEEDS, Clip, clips
from training.corpus.render import RendererMissing

PACKAGES = ("numpy", "scipy", "librosa", "torch")
CLIPS_AT_ONCE = 10

Heard = TypeVar("Heard")


@dataclass(frozen=True, slots=True)
class Effort:
    """How many clips are listened to, and by what costs more than all the rest; how often the speed is measured,
    and on how many of them, that of the melody on fewer."""

    seeds: range
    melodies: int
    sounds: int
    voices: int
    rounds: int


FULL = Effort(seeds=TEST_SEEDS, melodies=48, sounds=8, voices=2, rounds=5)

# The test clips are for figures that are told, not for seeing whether the program works.
QUICK = Effort(seeds=DEV_SEEDS[:12], melodies=2, sounds=4, voices=1, rounds=1)


def main() -> None:
    arguments = options("benchmarks.analysis", "Measure the analysis of clips.").parse_args()
    effort = QUICK if arguments.quick else FULL
    about = {
        **machine.describe(PACKAGES),
        "torch's threads": str(torch.get_num_threads()),
        "clips": f"seeds {effort.seeds[0]} to {effort.seeds[-1]}",
    }
    findings = Findings()
    probes: dict[str, float] = {}

    def run(moment: str, measure: Callable[[], None]) -> None:
        probes[f"before {moment}"] = machine.spin_ratio()
        print(f"measuring: {moment}", file=sys.stderr)
        measure()

    try:
        corpus = list(clips(effort.seeds))
    except RendererMissing as error:
        sys.exit(str(error))
    sounds = [clip.samples(RATE_HZ) for clip in corpus[: effort.sounds]]
    some = corpus[: effort.melodies]
    run("speed", lambda: analysis_speed.measure(findings, sounds, effort.rounds))
    few = sounds[: effort.voices]
    run("the melody's speed", lambda: analysis_speed.measure_melody(findings, few, effort.rounds))
    # What follows is about what is right, not about time.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        run("rhythm", lambda: analysis_rhythm.measure(findings, _each(pool, analysis_rhythm.listen, corpus)))
        run("keys", lambda: analysis_key.measure(findings, _each(pool, analysis_key.listen, corpus)))
        run(
            "melodies",
            lambda: analysis_melody.measure(
                findings,
                _each(pool, analysis_melody.listen, some),
                _each(pool, analysis_melody.listen, list(analysis_melody.alone(some))),
            ),
        )
    analysis_rhythm.measure_judges(findings)
    analysis_key.measure_adapter(findings)
    tables = [*findings.tables(), machine.quietness(probes)]
    Report("Segue's analysis, measured", about, tables, arguments.quick).give(arguments.json)


def _each(
    pool: ProcessPoolExecutor, listen: Callable[[Sequence[Clip]], list[Heard]], corpus: Sequence[Clip]
) -> list[Heard]:
    """What was heard in each clip, by all processors."""
    parts = [corpus[first : first + CLIPS_AT_ONCE] for first in range(0, len(corpus), CLIPS_AT_ONCE)]
    return [heard for part in pool.map(listen, parts) for heard in part]


if __name__ == "__main__":
    main()
