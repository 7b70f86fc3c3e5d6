"""How quick tempo, key and energy are told, in turns with librosa."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from statistics import median

import librosa
import torch

from benchmarks.analysis_rhythm import beat_track
from benchmarks.generator_findings import Findings, Head, Target
from benchmarks.turns import take_turns, timed, times_faster
from deployments.audio.samples import Samples
from deployments.engines.analysis.energy import energy_curve
from deployments.engines.analysis.key import analyse_key
from deployments.engines.analysis.rhythm import analyse_rhythm
from deployments.engines.analysis.rhythm_onsets import RATE_HZ

SPEED = Head(
    "speed",
    "Speed",
    "The same clips by each in turns, samples at 22.05 kHz in memory; medians over the rounds. librosa has been "
    "warmed up (its first call compiles for seconds). `times librosa` compares a row with librosa's for the same: "
    "`beat_track`, and `beat_track` with `chroma_cqt`.",
)


def measure(findings: Findings, clips: Sequence[Samples], rounds: int) -> None:
    """Of float32 [samples] each."""
    seconds = sum(len(samples) for samples in clips) / RATE_HZ
    contestants: dict[str, Callable[[Samples], object]] = {
        "tempo": analyse_rhythm,
        "tempo, key and energy": _ours,
        "librosa: beat_track": beat_track,
        "librosa: beat_track and chroma_cqt": _librosas,
    }
    cpu = torch.device("cpu")

    def all_by(work: Callable[[Samples], object]) -> Callable[[], float]:
        return lambda: timed(lambda: [work(samples) for samples in clips], cpu)

    for work in contestants.values():
        work(clips[0])
    said = take_turns({name: all_by(work) for name, work in contestants.items()}, rounds)
    beside = {
        "tempo": "librosa: beat_track",
        "tempo, key and energy": "librosa: beat_track and chroma_cqt",
    }
    for name, values in said.items():
        findings.add(
            SPEED,
            {
                "what": name,
                "seconds of music": seconds,
                "s": median(values),
                "times real time": seconds / median(values),
                "times librosa": times_faster(said[beside[name]], values) if name in beside else float("nan"),
            },
        )
    whole = said["tempo, key and energy"]
    findings.targets += [
        Target.at_least("tempo, key and energy: times real time", 200, seconds / median(whole)),
        Target.at_least(
            "tempo, key and energy: times librosa",
            2,
            times_faster(said["librosa: beat_track and chroma_cqt"], whole),
        ),
    ]


def _ours(samples: Samples) -> None:
    analyse_rhythm(samples)
    analyse_key(samples)
    energy_curve(samples, RATE_HZ)


def _librosas(samples: Samples) -> None:
    beat_track(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        librosa.feature.chroma_cqt(y=samples, sr=RATE_HZ)
