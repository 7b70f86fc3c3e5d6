"""Makes the key profiles: `python -m training.analysis.key [--clips N] [--json FILE]`.

Softmax regression over the 24 keys, with one pair of profiles for all tonics, on the corpus's clips for
development (needs FluidSynth). Profiles are held near EDMA's (A. Faraldo et al., "Key Estimation in
Electronic Dance Music", ECIR 2016), how near and at which scale cross-validation says: what the corpus cannot
teach, music of other kinds, is in there. Figures are of the cross-validation; those of the corpus's test
clips stand in benchmarks/analysis/results.md. Without `--json` it writes the profiles that the package ships.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from deployments.engines.analysis.clip import LISTENING_RATE_HZ
from deployments.engines.analysis.pitch.chroma import find_peaks, tuning_of
from deployments.engines.analysis.pitch.key import FILE, key_features
from deployments.engines.analysis.pitch.keys import ALL_KEYS, MODES
from training.corpus.clips import DEV_SEEDS, clips
from training.corpus.scores import mirex_key

CLIPS = 240

EDMA = {
    "major": (0.1652, 0.0475, 0.0829, 0.0669, 0.0999, 0.0927, 0.0529, 0.1316, 0.0522, 0.0744, 0.0694, 0.0643),
    "minor": (0.1724, 0.0534, 0.0761, 0.1044, 0.0561, 0.0905, 0.0609, 0.1275, 0.0720, 0.0591, 0.0735, 0.0620),
}
"""Of the pitch class over the tonic; they add up to 1."""

_SCALES = (100.0, 200.0, 400.0, 800.0)
_BASS_SHARE = 0.35
_PENALTIES = (0.0003, 0.001, 0.003, 0.01, 0.03)
_FOLDS = 5

_Values = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(prog="training.analysis.key", description="Make the key profiles.")
    parser.add_argument("--clips", type=int, default=CLIPS, help="clips to learn from")
    parser.add_argument("--json", type=Path, default=FILE, metavar="FILE", help="where the profiles go")
    arguments = parser.parse_args()
    rows, names = [], []
    for clip in clips(DEV_SEEDS[: arguments.clips]):
        peaks = find_peaks(clip.samples(LISTENING_RATE_HZ))
        rows.append(key_features(peaks, tuning_of(peaks)[0]))
        names.append(clip.truth.key)
    record = fit(np.array(rows), names)
    arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["figures"], indent=1))


def fit(features: _Values, names: list[str]) -> dict[str, Any]:
    """Profiles as `key_profiles.json` has them, from [clips, 24] and the names of the clips' keys."""
    known = [str(key) for key in ALL_KEYS]
    truth = np.array([known.index(name) for name in names])
    moved = _moved(features)
    folds = np.arange(len(truth)) % _FOLDS
    found = {
        (scale, penalty): _cross_validated(moved, truth, folds, _prior(scale), penalty)
        for scale, penalty in itertools.product(_SCALES, _PENALTIES)
    }
    scale, penalty = min(found, key=lambda each: found[each][1])
    answers = found[scale, penalty][0]
    weights = _regression(moved, truth, _prior(scale), penalty).reshape(2, 2, 12)
    return {
        "profiles": {
            mode: {"treble": _rounded(treble), "bass": _rounded(bass)}
            for mode, (treble, bass) in zip(MODES, weights, strict=True)
        },
        "learning": {"clips": len(truth), "seeds": "0 on", "edma_scale": scale, "penalty": penalty},
        "figures": {
            "cross-validated: MIREX-weighted": _score(answers, names),
            "cross-validated: right": round(float((answers == truth).mean()), 4),
            "EDMA alone: MIREX-weighted": _score((moved @ _prior(1.0)).argmax(axis=1), names),
        },
    }


def _moved(features: _Values) -> _Values:
    """[clips, keys, 48]: the features from each key's tonic up, in the half of its mode, the other half 0."""
    moved = np.zeros((len(features), len(ALL_KEYS), len(MODES), 24))
    halves = features.reshape(-1, 2, 12)
    for index, key in enumerate(ALL_KEYS):
        moved[:, index, MODES.index(key.mode)] = np.roll(halves, -key.tonic, axis=2).reshape(-1, 24)
    return moved.reshape(len(features), len(ALL_KEYS), -1)


def _prior(scale: float) -> _Values:
    return np.concatenate(
        [scale * share * (np.array(EDMA[mode]) - 1 / 12) for mode in MODES for share in (1.0, _BASS_SHARE)]
    )


def _cross_validated(
    moved: _Values,
    truth: npt.NDArray[np.int64],
    folds: npt.NDArray[np.signedinteger],
    prior: _Values,
    penalty: float,
) -> tuple[npt.NDArray[np.int64], float]:
    """The answers for each clip, and the sum of how unlikely the truth was to them."""
    answers, loss = np.zeros(len(truth), np.int64), 0.0
    for fold in range(_FOLDS):
        out = folds == fold
        likely = _log_softmax(moved[out] @ _regression(moved[~out], truth[~out], prior, penalty))
        answers[out] = likely.argmax(axis=1)
        loss -= float(likely[np.arange(int(out.sum())), truth[out]].sum())
    return answers, loss


def _regression(moved: _Values, truth: npt.NDArray[np.int64], prior: _Values, penalty: float) -> _Values:
    rows = np.arange(len(truth))

    def loss(weights: _Values) -> tuple[float, _Values]:
        likely = _log_softmax(moved @ weights)
        gradient = np.einsum("nk,nkf->f", np.exp(likely), moved) - moved[rows, truth].sum(axis=0)
        off = weights - prior
        return -float(likely[rows, truth].sum()) + 0.5 * penalty * float(off @ off), gradient + penalty * off

    weights: _Values = minimize(loss, prior, jac=True, method="L-BFGS-B").x
    return weights


def _log_softmax(values: _Values) -> _Values:
    shifted = values - values.max(axis=1, keepdims=True)
    likely: _Values = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return likely


def _score(answers: npt.NDArray[np.int64], names: list[str]) -> float:
    scores = [mirex_key(str(ALL_KEYS[answer]), name) for answer, name in zip(answers, names, strict=True)]
    return round(float(np.mean(scores)), 4)


def _rounded(values: _Values) -> list[float]:
    return [round(float(value), 3) for value in values]


if __name__ == "__main__":
    main()
