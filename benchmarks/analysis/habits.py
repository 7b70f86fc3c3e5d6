"""Keys and tempos of music by a generator that nothing was chosen or trained on, beside librosa's: `python -m
benchmarks.analysis.habits [--quick] [--json FILE]`. Needs FluidSynth, and Debian's musescore-general-soundfont-lite
and opl3-soundfont."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.analysis.key import librosa_key
from benchmarks.analysis.rhythm import beat_track
from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit import machine
from benchmarks.kit.report import Report, options
from benchmarks.kit.tables import Row
from deployments.engines.analysis.analysis import Key, Rhythm
from deployments.engines.analysis.clip import LISTENING_RATE_HZ
from deployments.engines.analysis.pitch.key import FILE, analyse_key
from deployments.engines.analysis.rhythm.estimate import analyse_rhythm
from deployments.engines.analysis.rhythm.model import read_about
from training.corpus.clips import Clip
from training.corpus.habit_clips import HABIT_SEEDS, HABITS, OTHER, OTHER_SEEDS, habit_clips
from training.corpus.render import RendererMissing
from training.corpus.scores import f_measure, mean, mirex_key, share, tempo_accuracy_1, tempo_accuracy_2

PACKAGES = ("numpy", "scipy", "librosa")

OTHER_GENERATOR = Head(
    "other generator",
    "Music of another generator",
    "Clips by a composer with its own code, harmony, patterns and sound fonts, on which nothing was trained; "
    "means with 95 % intervals (bootstrap over the clips). Keys are MIREX-weighted, `right` is the very key, "
    "`relative` the share that is named as the relative key. Tempo is Acc1 (within 4 %).",
)
LEFT_OUT = Head(
    "composers left out",
    "Composers, each left out in turn",
    "Of the training: what judges that had learned from all other composers make of each one's clips. Keys are "
    "MIREX-weighted; of beats and bars, the share of clips whose likeliest hypothesis is right, where there is "
    "a right one. `corpus` is the first, general one.",
)


@dataclass(frozen=True, slots=True)
class Heard:
    clip: Clip
    key: Key
    rhythm: Rhythm
    librosa_key: str
    librosa_bpm: float


def listen(clip: Clip) -> Heard:
    samples = clip.samples(LISTENING_RATE_HZ)
    rhythm = analyse_rhythm(samples)
    bpm, _ = beat_track(samples)
    return Heard(clip, analyse_key(samples, rhythm), rhythm, librosa_key(samples), bpm)


def main() -> None:
    arguments = options(
        "benchmarks.analysis.habits", "Measure the analysis of another generator's music."
    ).parse_args()
    # The other generator's clips are for figures that are told, not for seeing whether the program works.
    chosen = next(iter(HABITS)), HABIT_SEEDS[:4]
    habit, seeds = chosen if arguments.quick else (OTHER, OTHER_SEEDS)
    try:
        heard = [listen(clip) for clip in habit_clips(habit, seeds)]
    except RendererMissing as error:
        sys.exit(str(error))
    findings = Findings()
    measure(findings, heard)
    measure_left_out(findings)
    about = {**machine.describe(PACKAGES), "clips": f"{habit}, seeds {seeds[0]} to {seeds[-1]}"}
    Report("Segue's analysis of another generator", about, findings.tables(), arguments.quick).give(
        arguments.json
    )


def measure(findings: Findings, heard: Sequence[Heard]) -> None:
    """Rows for all, for both modes and for each kind of music, and what the targets want of them."""
    groups = [("all", list(heard))]
    for mode in ("minor", "major"):
        groups.append((mode, [each for each in heard if each.clip.truth.key.endswith(mode)]))
    for kind in sorted({each.clip.stratum for each in heard}):
        groups.append((kind, [each for each in heard if each.clip.stratum == kind]))
    for name, own in groups:
        if own:
            findings.add(OTHER_GENERATOR, _row(name, own))
    findings.targets += [
        Target.at_least("other generator: MIREX-weighted", 0.88, mean(heard, _score)),
        Target.at_least("other generator: tempo, Acc1", 0.95, mean(heard, _has_tempo)),
    ]


def measure_left_out(findings: Findings) -> None:
    """From the figures that were written when the judges were made."""
    keys: dict[str, Any] = json.loads(FILE.read_text())["figures"]
    rhythm: dict[str, dict[str, float]] = read_about().get("right, composers left out", {})
    for habit in ("corpus", *HABITS):
        findings.add(
            LEFT_OUT,
            {
                "composer": habit,
                "key": keys.get(f"left out: {habit}", float("nan")),
                **{judge: rhythm.get(judge, {}).get(habit, float("nan")) for judge in ("beat", "bar")},
            },
        )


def _row(name: str, heard: Sequence[Heard]) -> Row:
    return {
        "clips": name,
        "number": len(heard),
        "MIREX": share(heard, _score),
        "MIREX, librosa": share(heard, lambda each: mirex_key(each.librosa_key, each.clip.truth.key)),
        "right": share(heard, lambda each: each.key.name == each.clip.truth.key),
        "relative": share(heard, lambda each: mirex_key(each.key.name, each.clip.truth.key) == 0.3),
        "Acc1": share(heard, _has_tempo),
        "Acc1, librosa": share(heard, lambda each: tempo_accuracy_1(each.librosa_bpm, each.clip.truth.bpm)),
        "Acc2": share(heard, lambda each: tempo_accuracy_2(each.rhythm.bpm, each.clip.truth.bpm)),
        "beats": share(heard, lambda each: f_measure(each.rhythm.beats_s, each.clip.truth.beats_s)),
    }


def _score(each: Heard) -> float:
    return mirex_key(each.key.name, each.clip.truth.key)


def _has_tempo(each: Heard) -> bool:
    return tempo_accuracy_1(each.rhythm.bpm, each.clip.truth.bpm)


if __name__ == "__main__":
    main()
