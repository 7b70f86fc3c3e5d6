"""Tempo, beats and bars of clips whose truth is known: Segue's beside those of librosa's `beat_track`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from librosa.beat import beat_track as librosas_beat_track

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit.tables import Row
from deployments.audio.samples import Samples
from deployments.engines.analysis.analysis import Rhythm
from deployments.engines.analysis.rhythm.estimate import analyse_rhythm
from deployments.engines.analysis.rhythm.model import read_about
from deployments.engines.analysis.rhythm.onsets import RATE_HZ
from training.corpus.clips import Clip
from training.corpus.groups import groups
from training.corpus.scores import f_measure, mean, share, tempo_accuracy_1, tempo_accuracy_2

WITHIN = 0.01

TEMPO = Head(
    "tempo",
    "Tempo",
    "Shares of clips, with the interval that holds them with 95 % confidence (bootstrap over the clips). Acc1: "
    "within 4 % of the truth. Acc2: of that, its half, double, third or triple. `within 1 %` is of the clips with "
    "a steady tempo, as Acc1. librosa's is `beat_track` with its defaults, at the same 22.05 kHz.",
)
BEATS = Head(
    "beats",
    "Beats and bars",
    "Means over clips of the F-measure with a tolerance of 70 ms, from the clip's beginning to its end, with 95 % "
    "intervals. `meter` is the share of clips with the right one. librosa tells no bars.",
)
CONFIDENCE = Head(
    "confidence",
    "What the confidence is worth",
    "Clips by the confidence that was told, and how many of them have the right tempo (Acc1).",
)
JUDGES = Head(
    "judges",
    "The judges of rhythm",
    "What came of their training: how many clips of those that had been held back had the right hypothesis chosen, "
    "of the beat (its tempo and its place) and of the bar, among the clips of the corpus and among those in "
    "disguise (other sound fonts, voices left out, machines, equipment).",
)
_CONFIDENCES = ((0.0, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.01))


@dataclass(frozen=True, slots=True)
class Heard:
    """What was found in a clip, ours and librosa's."""

    clip: Clip
    rhythm: Rhythm
    librosa_bpm: float
    librosa_beats_s: Sequence[float]


def listen(clips: Iterable[Clip]) -> list[Heard]:
    """Everybody to every clip."""
    heard = []
    for clip in clips:
        samples = clip.samples(RATE_HZ)
        bpm, beats_s = beat_track(samples)
        heard.append(Heard(clip, analyse_rhythm(samples), bpm, beats_s))
    return heard


def beat_track(samples: Samples) -> tuple[float, Sequence[float]]:
    """librosa's BPM and beats (s), of float32 [samples] at 22.05 kHz."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bpm, beats_s = librosas_beat_track(y=samples, sr=RATE_HZ, units="time")
    return float(np.ravel(bpm)[0]), [float(beat_s) for beat_s in beats_s]


def measure_judges(findings: Findings) -> None:
    """Rows for the table of the judges, from the figures that were written when they were trained."""
    about = read_about()
    for judge, right in about["right"].items():
        findings.add(JUDGES, {"judge": judge, "clips": about["clips"][judge], **right})


def measure(findings: Findings, heard: Sequence[Heard]) -> None:
    """Rows for the tables of tempo, beats and confidence, and what the targets want of them."""
    for name, own in groups(heard, lambda each: each.clip):
        findings.add(TEMPO, _tempo_row(name, own))
        findings.add(BEATS, _beats_row(name, own))
    for low, high in _CONFIDENCES:
        own = [each for each in heard if low <= each.rhythm.confidence < high]
        findings.add(
            CONFIDENCE,
            {
                "confidence": f"{low:g} to {min(high, 1):g}",
                "clips": len(own),
                "Acc1": share(own, lambda each: tempo_accuracy_1(each.rhythm.bpm, each.clip.truth.bpm)),
            },
        )
    steady = [each for each in heard if each.clip.truth.is_steady and _is_right(each)]
    findings.targets += [
        Target.at_least("tempo: Acc1", 0.95, mean(heard, _is_right)),
        Target.at_least("tempo: Acc2", 0.99, mean(heard, _is_nearly_right)),
        Target.at_least("tempo: within 1 %, where steady and right", 1.0, mean(steady, _is_close)),
        Target.at_least("beats: F-measure", 0.9, mean(heard, _beats_f)),
        Target.at_least(
            "tempo: Acc1 above librosa's by", 0.0, mean(heard, _is_right) - mean(heard, _librosa_is_right)
        ),
    ]


def _tempo_row(name: str, heard: Sequence[Heard]) -> Row:
    steady = [each for each in heard if each.clip.truth.is_steady]
    return {
        "clips": name,
        "number": len(heard),
        "Acc1": share(heard, _is_right),
        "Acc1, librosa": share(heard, _librosa_is_right),
        "Acc2": share(heard, _is_nearly_right),
        "Acc2, librosa": share(heard, lambda each: tempo_accuracy_2(each.librosa_bpm, each.clip.truth.bpm)),
        "within 1 %": share(steady, _is_close),
        "within 1 %, librosa": share(
            steady, lambda each: abs(each.librosa_bpm / each.clip.truth.bpm - 1) <= WITHIN
        ),
    }


def _beats_row(name: str, heard: Sequence[Heard]) -> Row:
    return {
        "clips": name,
        "number": len(heard),
        "beats": share(heard, _beats_f),
        "beats, librosa": share(heard, lambda each: f_measure(each.librosa_beats_s, each.clip.truth.beats_s)),
        "downbeats": share(
            heard, lambda each: f_measure(each.rhythm.downbeats_s, each.clip.truth.downbeats_s)
        ),
        "meter": share(heard, lambda each: each.rhythm.meter == each.clip.truth.meter),
    }


def _is_right(each: Heard) -> bool:
    return tempo_accuracy_1(each.rhythm.bpm, each.clip.truth.bpm)


def _is_nearly_right(each: Heard) -> bool:
    return tempo_accuracy_2(each.rhythm.bpm, each.clip.truth.bpm)


def _is_close(each: Heard) -> bool:
    return each.rhythm.bpm is not None and abs(each.rhythm.bpm / each.clip.truth.bpm - 1) <= WITHIN


def _librosa_is_right(each: Heard) -> bool:
    return tempo_accuracy_1(each.librosa_bpm, each.clip.truth.bpm)


def _beats_f(each: Heard) -> float:
    return f_measure(each.rhythm.beats_s, each.clip.truth.beats_s)
