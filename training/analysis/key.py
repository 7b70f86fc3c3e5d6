"""Makes the judge of keys: `python -m training.analysis.key [--clips N] [--habit-clips N] [--json FILE]`.

A conditional logit over the 24 keys: one set of weights for each mode, the same for all tonics, on what
`analysis.tonic` finds in clips of the corpus for development and of the composers in `training.corpus.habits`
(needs FluidSynth). The weights of the pitches are held near EDMA's profiles (A. Faraldo et al., "Key Estimation in
Electronic Dance Music", ECIR 2016): what the corpus cannot teach, music of other kinds, is in there. All others are
held near 0. How near is decided by cross-validation that leaves out one composer at a time, since clips of the
same composer say little about another's. Figures are of this cross-validation; those of the held-out generator
stand in benchmarks/analysis/habits.md. Without `--json` the judge that the package ships is written anew.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from deployments.engines.analysis.clip import LISTENING_RATE_HZ
from deployments.engines.analysis.pitch.chroma import find_peaks, tuning_of
from deployments.engines.analysis.pitch.key import FILE, moved_evidence
from deployments.engines.analysis.pitch.keys import ALL_KEYS, MODES
from deployments.engines.analysis.pitch.tonic import ROWS, tonic_evidence
from deployments.engines.analysis.rhythm.estimate import analyse_rhythm
from training.corpus.clips import DEV_SEEDS, Clip, clips
from training.corpus.habit_clips import HABIT_SEEDS, HABITS, habit_clips
from training.corpus.scores import mirex_key

CLIPS = 400
CORPUS = "corpus"

EDMA = {
    "major": (0.1652, 0.0475, 0.0829, 0.0669, 0.0999, 0.0927, 0.0529, 0.1316, 0.0522, 0.0744, 0.0694, 0.0643),
    "minor": (0.1724, 0.0534, 0.0761, 0.1044, 0.0561, 0.0905, 0.0609, 0.1275, 0.0720, 0.0591, 0.0735, 0.0620),
}
"""Of the pitch class over the tonic; they add up to 1."""

_SCALES = (200.0,)
_BASS_SHARE = 0.35
_PROFILE_PENALTY = 0.003
_PENALTIES = (0.1, 0.3, 1.0)
_MOST_STEPS = 120

_Values = npt.NDArray[np.float64]
_Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cases:
    """`moved` is float64 [clips, keys, features], `truth` int64 [clips], `habits` [clips]: who composed each."""

    moved: _Values
    truth: _Numbers
    habits: npt.NDArray[np.str_]

    def only(self, chosen: npt.NDArray[np.bool_]) -> Cases:
        return Cases(self.moved[chosen], self.truth[chosen], self.habits[chosen])


def main() -> None:
    parser = argparse.ArgumentParser(prog="training.analysis.key", description="Make the judge of keys.")
    parser.add_argument("--clips", type=int, default=CLIPS, help="clips of the corpus to learn from")
    parser.add_argument(
        "--habit-clips", type=int, default=len(HABIT_SEEDS), help="clips of each composer to learn from"
    )
    parser.add_argument("--json", type=Path, default=FILE, metavar="FILE", help="where the judge goes")
    arguments = parser.parse_args()
    record = fit(cases_of(_corpus(arguments.clips, arguments.habit_clips)))
    arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["figures"], indent=1))


def _corpus(count: int, of_each: int) -> Iterator[tuple[str, Clip]]:
    yield from ((CORPUS, clip) for clip in clips(DEV_SEEDS[:count]))
    for habit in HABITS:
        yield from ((habit, clip) for clip in habit_clips(habit, HABIT_SEEDS[:of_each]))


def cases_of(corpus: Iterable[tuple[str, Clip]]) -> Cases:
    """Of clips, with who composed each."""
    known = [str(key) for key in ALL_KEYS]
    moved, truth, habits = [], [], []
    for habit, clip in corpus:
        samples = clip.samples(LISTENING_RATE_HZ)
        peaks = find_peaks(samples)
        moved.append(moved_evidence(*tonic_evidence(peaks, tuning_of(peaks)[0], analyse_rhythm(samples))))
        truth.append(known.index(clip.truth.key))
        habits.append(habit)
    return Cases(np.array(moved), np.array(truth), np.array(habits))


def fit(cases: Cases) -> dict[str, Any]:
    """The judge as `key_model.json` has it."""
    found = {
        (scale, penalty): _cross_validated(cases, scale, penalty)
        for scale, penalty in itertools.product(_SCALES, _PENALTIES)
    }
    scale, penalty = min(found, key=lambda each: found[each][1])
    answers = found[scale, penalty][0]
    weights = _regression(cases, scale, penalty)
    figures = {
        f"left out: {habit}": _score(answers[cases.habits == habit], cases.truth[cases.habits == habit])
        for habit in np.unique(cases.habits).tolist()
    }
    return {
        "weights": {mode: _as_record(row) for mode, row in zip(MODES, weights, strict=True)},
        "learning": {"clips": len(cases.truth), "edma_scale": scale, "penalty": penalty},
        "figures": {"MIREX-weighted, of composers that were left out": round(_score(answers, cases.truth), 4)}
        | {name: round(value, 4) for name, value in figures.items()},
    }


def _prior(features: int, scale: float) -> _Values:
    """[modes, features]: EDMA's for the pitches in the treble and in the bass, the first two rows."""
    prior = np.zeros((len(MODES), features))
    for index, mode in enumerate(MODES):
        prior[index, :12] = scale * (np.array(EDMA[mode]) - 1 / 12)
        prior[index, 12:24] = _BASS_SHARE * prior[index, :12]
    return prior


def _cross_validated(cases: Cases, scale: float, penalty: float) -> tuple[_Numbers, float]:
    """The answers for each clip by a judge that learned nothing of its composer, and how unlikely the truth was
    to them, each composer counting as much as any other."""
    answers, loss = np.zeros(len(cases.truth), np.int64), 0.0
    for habit in np.unique(cases.habits):
        out = cases.habits == habit
        # Of one composer alone nothing can be left out.
        learned = cases if out.all() else cases.only(~out)
        likely = _log_softmax(_scores(_regression(learned, scale, penalty), cases.moved[out]))
        answers[out] = likely.argmax(axis=1)
        loss -= float(likely[np.arange(int(out.sum())), cases.truth[out]].mean())
    return answers, loss


def _regression(cases: Cases, scale: float, penalty: float) -> _Values:
    """[modes, features]"""
    clips, _, features = cases.moved.shape
    prior = _prior(features, scale)
    held = np.full_like(prior, penalty)
    held[:, :24] = _PROFILE_PENALTY
    truth = np.eye(len(ALL_KEYS))[cases.truth]
    # In single precision and one block for each mode: half of the memory, which is what takes the time.
    halves = [
        np.ascontiguousarray(half, np.float32).reshape(-1, features)
        for half in np.split(cases.moved, len(MODES), axis=1)
    ]

    def loss(flat: _Values) -> tuple[float, _Values]:
        weights = flat.reshape(prior.shape)
        scores = [
            (half @ row.astype(np.float32)).reshape(clips, -1)
            for half, row in zip(halves, weights, strict=True)
        ]
        likely = _log_softmax(np.concatenate(scores, axis=1).astype(np.float64))
        off_truth = np.split(np.exp(likely) - truth, len(MODES), axis=1)
        gradient = np.stack(
            [each.astype(np.float32).ravel() @ half for each, half in zip(off_truth, halves, strict=True)]
        )
        off = weights - prior
        total = -float((likely * truth).sum()) + 0.5 * float((held * off * off).sum())
        return total, (gradient + held * off).ravel()

    found = minimize(loss, prior.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _MOST_STEPS})
    weights: _Values = found.x.reshape(prior.shape)
    return weights


def _scores(weights: _Values, moved: _Values) -> _Values:
    halves = np.split(moved, len(MODES), axis=1)
    return np.concatenate([half @ row for half, row in zip(halves, weights, strict=True)], axis=1)


def _log_softmax(values: _Values) -> _Values:
    shifted = values - values.max(axis=1, keepdims=True)
    likely: _Values = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return likely


def _score(answers: _Numbers, truth: _Numbers) -> float:
    scores = [
        mirex_key(str(ALL_KEYS[ours]), str(ALL_KEYS[own])) for ours, own in zip(answers, truth, strict=True)
    ]
    return float(np.mean(scores))


def _as_record(row: _Values) -> dict[str, Any]:
    """By what the weights are of; `changes` from the tonic's row up."""
    rows = row[: 12 * len(ROWS)].reshape(len(ROWS), 12)
    changes = row[12 * len(ROWS) :].reshape(12, 12)
    return {
        **{name: _rounded(each) for name, each in zip(ROWS, rows, strict=True)},
        "changes": [_rounded(each) for each in changes],
    }


def _rounded(values: Sequence[float] | _Values) -> list[float]:
    return [round(float(value), 2) for value in values]


if __name__ == "__main__":
    main()
