"""Fit the judges of rhythm to the development clips: `python -m benchmarks.train_rhythm [--clips N]`.

Writes `deployments/engines/analysis/rhythm_model.json`, with what five-fold cross-validation said. A clip's
hypotheses compete with each other (softmax regression), and any that is right will do. Small networks with one
hidden layer were no better on as many clips.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

import deployments.engines.analysis.rhythm_model as shipped
from benchmarks.corpus.clips import DEV_SEEDS, Clip, clips
from benchmarks.corpus.scores import f_measure, tempo_accuracy_1
from deployments.engines.analysis.rhythm_bars import Bars, possible_bars
from deployments.engines.analysis.rhythm_beats import refine_beats
from deployments.engines.analysis.rhythm_hypotheses import Hearing, Hypothesis, hypotheses
from deployments.engines.analysis.rhythm_model import LARGEST, Judge
from deployments.engines.analysis.rhythm_onsets import FRAMES_PER_S, RATE_HZ, Curve, find_onsets

Values = npt.NDArray[np.float64]
Marks = npt.NDArray[np.bool_]

CLIPS = 760
FOLDS = 5
RIGHT_F = 0.7
GOOD_BEATS_F = 0.85


@dataclass(frozen=True, slots=True)
class Case:
    """A clip's hypotheses: `features` [hypotheses, features], and which of them are right [hypotheses]."""

    seed: int
    features: Curve
    is_right: Marks


BEAT_PENALTY = 10.0
BAR_PENALTY = 10.0
"""On the squares of the weights, of features that are scaled to a standard deviation of 1."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.train_rhythm", description=__doc__)
    parser.add_argument("--clips", type=int, default=CLIPS, help="the first so many seeds")
    count: int = parser.parse_args().clips
    beat_cases, bar_cases = [], []
    for clip in clips(DEV_SEEDS[:count]):
        beat_case, bar_case = make_cases(clip)
        beat_cases += [beat_case] if beat_case else []
        bar_cases += [bar_case] if bar_case else []
    record = {
        "about": {
            "trained by": "python -m benchmarks.train_rhythm",
            "seeds": [DEV_SEEDS[0], DEV_SEEDS[count - 1]],
            "beats": {
                "clips": len(beat_cases),
                "right in cross-validation": validate(beat_cases, BEAT_PENALTY),
            },
            "bars": {"clips": len(bar_cases), "right in cross-validation": validate(bar_cases, BAR_PENALTY)},
        },
        "beat": as_record(train(beat_cases, BEAT_PENALTY)),
        "bar": as_record(train(bar_cases, BAR_PENALTY)),
    }
    Path(shipped.__file__).with_name(shipped.FILE).write_text(json.dumps(record) + "\n")
    print(json.dumps(record["about"], indent=1))


def make_cases(clip: Clip) -> tuple[Case | None, Case | None]:
    """Of beats and of bars; None where the clip has no hypotheses, or no beats that bars could be made of."""
    onsets = find_onsets(clip.samples(RATE_HZ))
    if onsets is None:
        return None, None
    hearing = Hearing.of(onsets)
    possible = hypotheses(hearing)
    if not possible:
        return None, None
    scores = [beat_score(each, clip) for each in possible]
    is_right = [
        score > RIGHT_F and tempo_accuracy_1(bpm_of(each), clip.truth.bpm)
        for each, score in zip(possible, scores, strict=True)
    ]
    beat_case = case(clip, possible, is_right) if any(is_right) else None
    best = int(np.argmax(scores))
    if scores[best] < GOOD_BEATS_F:
        return beat_case, None
    beats = refine_beats(hearing.strength, possible[best].beats)
    bars = possible_bars(hearing, beats)
    beats_s = beats / FRAMES_PER_S
    is_bar = [
        each.meter == clip.truth.meter
        and f_measure(beats_s[each.first :: each.meter].tolist(), clip.truth.downbeats_s) > RIGHT_F
        for each in bars
    ]
    return beat_case, case(clip, bars, is_bar) if any(is_bar) else None


def case(clip: Clip, possible: Sequence[Hypothesis] | Sequence[Bars], is_right: Sequence[bool]) -> Case:
    return Case(clip.seed, np.stack([each.features for each in possible]), np.array(is_right))


def bpm_of(each: Hypothesis) -> float:
    return 60 * FRAMES_PER_S / each.period


def beat_score(each: Hypothesis, clip: Clip) -> float:
    return f_measure((each.beats / FRAMES_PER_S).tolist(), clip.truth.beats_s)


def validate(cases: Sequence[Case], penalty: float) -> float:
    """The share of clips whose likeliest hypothesis is right, each judged by who has not seen it."""
    fold = np.random.default_rng(0).integers(FOLDS, size=len(cases))
    right = 0
    for held_out in range(FOLDS):
        judge = train([each for each, own in zip(cases, fold, strict=True) if own != held_out], penalty)
        for each, own in zip(cases, fold, strict=True):
            if own == held_out:
                right += bool(each.is_right[judge.chances(list(each.features)).argmax()])
    return round(right / len(cases), 4)


def train(cases: Sequence[Case], penalty: float) -> Judge:
    together = np.concatenate([each.features for each in cases])
    center, scale = together.mean(axis=0), together.std(axis=0) + 1e-3
    most = max(len(each.features) for each in cases)
    inputs = np.zeros((len(cases), most, len(center)))
    is_there, is_right = np.zeros((2, len(cases), most), bool)
    for index, each in enumerate(cases):
        count = len(each.features)
        inputs[index, :count] = np.clip((each.features - center) / scale, -LARGEST, LARGEST)
        is_there[index, :count] = True
        is_right[index, :count] = each.is_right
    fitted = minimize(
        loss, np.zeros(len(center)), args=(inputs, is_there, is_right, penalty), jac=True, method="L-BFGS-B"
    )
    return Judge(center, scale, fitted.x.astype(np.float32))


def loss(
    weights: Values, inputs: Values, is_there: Marks, is_right: Marks, penalty: float
) -> tuple[float, Values]:
    """Minus the logarithm of the chance that a right one is chosen, over all clips, and its gradient. `inputs` is
    [clips, hypotheses, features], `is_there` and `is_right` [clips, hypotheses]."""
    scores = np.where(is_there, inputs @ weights, -np.inf)
    likely = np.exp(scores - scores.max(axis=1, keepdims=True))
    chance = likely / likely.sum(axis=1, keepdims=True)
    of_right = (chance * is_right).sum(axis=1, keepdims=True)
    gradient = np.einsum("ch,chf->f", chance - chance * is_right / of_right, inputs) + penalty * weights
    return float(-np.log(of_right).sum() + 0.5 * penalty * weights @ weights), gradient


def as_record(judge: Judge) -> dict[str, object]:
    """Four significant digits are more than the decision needs."""
    return {name: rounded(getattr(judge, name)) for name in Judge.__slots__}


def rounded(values: Curve) -> object:
    return np.vectorize(lambda value: float(f"{value:.4g}"), otypes=[float])(values).tolist()


if __name__ == "__main__":
    main()
