"""Makes the adapter: `python -m training.analysis.adapter [--pieces N] [--json FILE]`.

Music of known style and mood is rendered (needs FluidSynth), described as the analyser describes clips, and a
linear model is fitted: softmax regression for styles, ridge regression for valence and arousal, each held
back as strongly as does best in cross-validation. Figures are of pieces whose seeds it never saw. Without
`--json` the model that the package ships is written anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.optimize import minimize

from deployments.engines.analysis.clip import Clip
from deployments.engines.analysis.mood.adapter import FILE
from deployments.engines.analysis.mood.features import describe
from deployments.engines.analysis.mood.styles import STYLE_IDS
from deployments.engines.analysis.mood.timbre import describe_timbre
from deployments.engines.analysis.pitch.chroma import find_peaks
from deployments.engines.analysis.pitch.key import key_of
from deployments.engines.analysis.rhythm.estimate import analyse_rhythm
from training.corpus.clips import corpus_folder
from training.corpus.render import RATE_HZ, render
from training.corpus.style_music import Mood, as_recorded, mood_of, style_piece

LEARNING_SEEDS = range(20_000, 20_060)
HELD_OUT_SEEDS = range(30_000, 30_020)
_PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_FOLDS = 5
_FARTHEST = 3.0

_Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Heard:
    """Pieces as features [pieces, features], with the number of each one's style and its mood [pieces, 2]."""

    names: tuple[str, ...]
    features: _Values
    styles: npt.NDArray[np.int64]
    moods: _Values


def main() -> None:
    parser = argparse.ArgumentParser(prog="training.analysis.adapter", description="Make the adapter.")
    parser.add_argument(
        "--pieces", type=int, default=len(LEARNING_SEEDS), help="pieces of each style to learn from"
    )
    parser.add_argument("--json", type=Path, default=FILE, metavar="FILE", help="where the model goes")
    arguments = parser.parse_args()
    learned = listen(LEARNING_SEEDS[: arguments.pieces])
    held_out = listen(HELD_OUT_SEEDS[: max(2, arguments.pieces // 3)])
    record = fit(learned)
    record["figures"] = judge(record, learned, held_out)
    arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["figures"], indent=1))


def listen(seeds: Sequence[int]) -> Heard:
    """A piece of each style for each seed."""
    rows = list(_listen(seeds))
    names = tuple(rows[0][0])
    return Heard(
        names,
        np.array([[features[name] for name in names] for features, _, _ in rows]),
        np.array([STYLE_IDS.index(style) for _, style, _ in rows]),
        np.array([(mood.valence, mood.arousal) for _, _, mood in rows]),
    )


def _listen(seeds: Sequence[int]) -> Iterator[tuple[dict[str, float], str, Mood]]:
    for seed in seeds:
        for style in STYLE_IDS:
            piece = style_piece(seed, style)
            samples = soundfile.read(render(piece, corpus_folder()), dtype="float32")[0]
            yield features_of(Clip(as_recorded(samples, seed)[None], RATE_HZ)), style, mood_of(piece)


def features_of(clip: Clip) -> dict[str, float]:
    """As the engine hands them to the adapter."""
    mono = clip.sounding.listening
    peaks = find_peaks(mono)
    rhythm = analyse_rhythm(mono)
    return describe(rhythm, key_of(peaks, rhythm), describe_timbre(mono), peaks)


def fit(heard: Heard) -> dict[str, Any]:
    """The model as `adapter.json` has it, without figures."""
    means, deviations = heard.features.mean(axis=0), np.maximum(heard.features.std(axis=0), 1e-6)
    places = np.clip((heard.features - means) / deviations, -_FARTHEST, _FARTHEST)
    folds = np.arange(len(places)) // len(STYLE_IDS) % _FOLDS
    style_penalty = _best(lambda penalty: _style_loss(places, heard.styles, folds, penalty))
    styles = _softmax_regression(places, heard.styles, style_penalty)
    moods = {}
    for column, name in enumerate(("valence", "arousal")):
        wanted = np.arctanh(np.clip(heard.moods[:, column], -0.95, 0.95))
        penalty = _best(lambda each, wanted=wanted: _ridge_loss(places, wanted, folds, each))
        moods[name] = {"penalty": penalty, **_as_record(_ridge(places, wanted, penalty))}
    return {
        "features": list(heard.names),
        "means": _rounded(means),
        "deviations": _rounded(deviations),
        "styles": {style: _as_record(row) for style, row in zip(STYLE_IDS, styles, strict=True)},
        "moods": moods,
        "learning": {"pieces": len(places), "seeds": "20000 on", "style_penalty": style_penalty},
    }


def judge(record: dict[str, Any], learned: Heard, held_out: Heard) -> dict[str, Any]:
    """How well a model does on pieces."""
    figures: dict[str, Any] = {"held-out pieces": len(held_out.features)}
    for name, heard in (("learned", learned), ("held out", held_out)):
        places = (heard.features - np.array(record["means"])) / np.array(record["deviations"])
        places = np.clip(places, -_FARTHEST, _FARTHEST)
        styles = np.stack([_applied(record["styles"][style], places) for style in STYLE_IDS], axis=1)
        answers = styles.argmax(axis=1)
        figures[f"{name}: style accuracy"] = round(float((answers == heard.styles).mean()), 4)
        for column, mood in enumerate(("valence", "arousal")):
            answer, truth = np.tanh(_applied(record["moods"][mood], places)), heard.moods[:, column]
            error = float(np.square(answer - truth).sum() / np.square(truth - truth.mean()).sum())
            figures[f"{name}: {mood} r2"] = round(1 - error, 4)
            figures[f"{name}: {mood} sign"] = round(float((np.sign(answer) == np.sign(truth)).mean()), 4)
        if heard is held_out:
            figures["held out: accuracy by style"] = {
                style: round(float((answers[heard.styles == index] == index).mean()), 4)
                for index, style in enumerate(STYLE_IDS)
            }
    return figures


def _best(loss: Any) -> float:
    return min(_PENALTIES, key=loss)


def _style_loss(
    places: _Values, styles: npt.NDArray[np.int64], folds: npt.NDArray[np.signedinteger], penalty: float
) -> float:
    total = 0.0
    for fold in range(_FOLDS):
        rows = _softmax_regression(places[folds != fold], styles[folds != fold], penalty)
        likely = _log_softmax(_with_one(places[folds == fold]) @ rows.T)
        total -= float(likely[np.arange(len(likely)), styles[folds == fold]].sum())
    return total


def _ridge_loss(
    places: _Values, wanted: _Values, folds: npt.NDArray[np.signedinteger], penalty: float
) -> float:
    total = 0.0
    for fold in range(_FOLDS):
        row = _ridge(places[folds != fold], wanted[folds != fold], penalty)
        answers: _Values = _with_one(places[folds == fold]) @ row
        total += float(np.square(np.tanh(answers) - np.tanh(wanted[folds == fold])).sum())
    return total


def _softmax_regression(places: _Values, styles: npt.NDArray[np.int64], penalty: float) -> _Values:
    """[styles, features + 1]: weights, then the bias."""
    inputs, shape = _with_one(places), (len(STYLE_IDS), places.shape[1] + 1)
    truth = np.eye(len(STYLE_IDS))[styles]

    def loss(flat: _Values) -> tuple[float, _Values]:
        rows = flat.reshape(shape)
        held = rows * np.append(np.ones(shape[1] - 1), 0.0)
        likely = _log_softmax(inputs @ rows.T)
        gradient = (np.exp(likely) - truth).T @ inputs + penalty * held
        return -float((likely * truth).sum()) + 0.5 * penalty * float(np.square(held).sum()), gradient.ravel()

    found = minimize(
        loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 300}
    )
    rows: _Values = found.x.reshape(shape)
    return rows


def _ridge(places: _Values, wanted: _Values, penalty: float) -> _Values:
    inputs = _with_one(places)
    held = penalty * np.diag(np.append(np.ones(places.shape[1]), 0.0))
    row: _Values = np.linalg.solve(inputs.T @ inputs + held, inputs.T @ wanted).astype(np.float64)
    return row


def _with_one(places: _Values) -> _Values:
    return np.concatenate([places, np.ones((len(places), 1))], axis=1)


def _log_softmax(values: _Values) -> _Values:
    shifted = values - values.max(axis=1, keepdims=True)
    likely: _Values = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return likely


def _applied(record: dict[str, Any], places: _Values) -> _Values:
    weights = np.array(record["weights"], np.float64)
    answers: _Values = places @ weights + float(record["bias"])
    return answers


def _as_record(row: _Values) -> dict[str, Any]:
    return {"weights": _rounded(row[:-1]), "bias": round(float(row[-1]), 5)}


def _rounded(values: _Values) -> list[float]:
    return [round(float(value), 5) for value in values]


if __name__ == "__main__":
    main()
