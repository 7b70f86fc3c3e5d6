"""Keys and tunings of clips whose truth is known: Segue's keys beside Krumhansl's profiles on
librosa's `chroma_cqt`, the usual recipe."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import librosa.feature
import numpy as np

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit.tables import Row
from deployments.audio.samples import Samples
from deployments.engines.analysis.analysis import Key
from deployments.engines.analysis.clip import LISTENING_RATE_HZ
from deployments.engines.analysis.mood import adapter
from deployments.engines.analysis.pitch.key import analyse_key
from deployments.engines.analysis.pitch.keys import ALL_KEYS
from training.corpus.clips import Clip
from training.corpus.groups import groups
from training.corpus.scores import mean, mirex_key, share

KEY = Head(
    "key",
    "Key",
    "MIREX-weighted scores (1 for the key, 0.5 for a fifth off, 0.3 for the relative, 0.2 for the parallel "
    "key), and shares of clips with the very key, with 95 % intervals (bootstrap over the clips). librosa's is "
    "its `chroma_cqt` with Krumhansl's profiles. `tuning` is the median error, in cents.",
)
KEY_CONFIDENCE = Head(
    "key confidence",
    "What the key's confidence is worth",
    "Clips by the confidence that was told, and how many of them have the very key.",
)
ADAPTER = Head(
    "adapter",
    "Mood and style",
    "The adapter on held-out pieces of the generator that it learned from (other seeds): what it is worth on "
    "recorded music is not known. `r2` is the share of the variance that is explained.",
)

KRUMHANSL = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}
"""C. L. Krumhansl, "Cognitive Foundations of Musical Pitch" (1990), from the tonic up."""

_CONFIDENCES = ((0.0, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.01))


@dataclass(frozen=True, slots=True)
class Heard:
    clip: Clip
    key: Key
    librosa_key: str


def listen(clips: Iterable[Clip]) -> list[Heard]:
    """Both to every clip."""
    heard = []
    for clip in clips:
        samples = clip.samples(LISTENING_RATE_HZ)
        heard.append(Heard(clip, analyse_key(samples), librosa_key(samples)))
    return heard


def librosa_key(samples: Samples) -> str:
    """Of float32 [samples] at 22.05 kHz."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chroma = librosa.feature.chroma_cqt(y=samples, sr=LISTENING_RATE_HZ).mean(axis=1)
    likeness = [np.corrcoef(np.roll(KRUMHANSL[key.mode], key.tonic), chroma)[0, 1] for key in ALL_KEYS]
    return str(ALL_KEYS[int(np.argmax(likeness))])


def measure(findings: Findings, heard: Sequence[Heard]) -> None:
    """Rows for the tables of keys, and what the targets want of them."""
    for name, own in groups(heard, lambda each: each.clip):
        findings.add(KEY, _key_row(name, own))
    for low, high in _CONFIDENCES:
        told = [each for each in heard if low <= each.key.confidence < high]
        findings.add(
            KEY_CONFIDENCE,
            {
                "confidence": f"{low:g} to {min(high, 1):g}",
                "clips": len(told),
                "right": share(told, _is_right),
            },
        )
    ours, theirs = (mean(heard, score) for score in (_score, _librosa_score))
    findings.targets += [
        Target.at_least("key: MIREX-weighted", 0.9, ours),
        Target.at_least("key: MIREX-weighted above librosa's by", 0.0, ours - theirs),
    ]


def measure_adapter(findings: Findings) -> None:
    """Rows for the table of the adapter, from the figures that were written when it was made."""
    figures = json.loads(adapter.FILE.read_text())["figures"]
    for measure_of in ("style accuracy", "valence r2", "valence sign", "arousal r2", "arousal sign"):
        findings.add(
            ADAPTER,
            {
                "measure": measure_of,
                "held out": figures[f"held out: {measure_of}"],
                "learned": figures[f"learned: {measure_of}"],
            },
        )


def _key_row(name: str, heard: Sequence[Heard]) -> Row:
    return {
        "clips": name,
        "number": len(heard),
        "MIREX": share(heard, _score),
        "MIREX, librosa": share(heard, _librosa_score),
        "right": share(heard, _is_right),
        "right, librosa": share(heard, lambda each: each.librosa_key == each.clip.truth.key),
        "tuning (cents)": float(np.median([_tuning_error_cents(each) for each in heard])),
    }


def _score(each: Heard) -> float:
    return mirex_key(each.key.name, each.clip.truth.key)


def _librosa_score(each: Heard) -> float:
    return mirex_key(each.librosa_key, each.clip.truth.key)


def _is_right(each: Heard) -> bool:
    return each.key.name == each.clip.truth.key


def _tuning_error_cents(each: Heard) -> float:
    """50 where none was told: pitches are never further off."""
    if each.key.tuning_cents is None:
        return 50.0
    return abs((each.key.tuning_cents - each.clip.truth.tuning_cents + 50) % 100 - 50)
