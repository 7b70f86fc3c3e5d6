"""Fit the judges of rhythm to the development clips: `python -m benchmarks.train_rhythm [--clips N]`.

Writes `deployments/engines/analysis/rhythm_model.json`, with what five-fold cross-validation said. A clip's
hypotheses compete with each other (a softmax over their scores), and any that is right will do. On all clips the
hidden layer is worth three points of a hundred more than softmax regression; on 760 it was worth nothing. Rendering
the clips takes most of an hour on two processors, the first time; the rest a quarter of one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

import deployments.engines.analysis.rhythm_model as shipped
from benchmarks.corpus.clips import DEV_SEEDS, Clip, clips
from benchmarks.corpus.scores import f_measure, tempo_accuracy_1
from deployments.engines.analysis.rhythm_bars import Bars, possible_bars
from deployments.engines.analysis.rhythm_beats import refine_beats
from deployments.engines.analysis.rhythm_hypotheses import Hearing, Hypothesis, hypotheses
from deployments.engines.analysis.rhythm_model import LARGEST, Judge
from deployments.engines.analysis.rhythm_onsets import FRAMES_PER_S, RATE_HZ, Curve, find_onsets

Marks = npt.NDArray[np.bool_]

FOLDS = 5
UNITS = 32
EPOCHS = 100
CLIPS_AT_ONCE = 64
LARGEST_STEP = 0.003
DECAY = 0.1
DROPPED, DROPPED_UNITS = 0.08, 0.16

RIGHT_F = 0.7
GOOD_BEATS_F = 0.85


@dataclass(frozen=True, slots=True)
class Case:
    """A clip's hypotheses: `features` [hypotheses, features], and which of them are right [hypotheses]."""

    seed: int
    features: Curve
    is_right: Marks


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.train_rhythm", description=__doc__)
    parser.add_argument("--clips", type=int, default=len(DEV_SEEDS), help="the first so many seeds")
    count: int = parser.parse_args().clips
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        made = list(pool.map(make_cases_of, DEV_SEEDS[:count], chunksize=20))
    beat_cases = [case for case, _ in made if case is not None]
    bar_cases = [case for _, case in made if case is not None]
    record = {
        "about": {
            "trained by": "python -m benchmarks.train_rhythm",
            "seeds": [DEV_SEEDS[0], DEV_SEEDS[count - 1]],
            "beats": {
                "clips": len(beat_cases),
                "right in cross-validation": validate(beat_cases),
            },
            "bars": {"clips": len(bar_cases), "right in cross-validation": validate(bar_cases)},
        },
        "beat": as_record(train(beat_cases)),
        "bar": as_record(train(bar_cases)),
    }
    Path(shipped.__file__).with_name(shipped.FILE).write_text(json.dumps(record) + "\n")
    print(json.dumps(record["about"], indent=1))


def make_cases_of(seed: int) -> tuple[Case | None, Case | None]:
    return make_cases(next(clips([seed])))


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


def validate(cases: Sequence[Case]) -> float:
    """The share of clips whose likeliest hypothesis is right, each judged by who has not seen it."""
    fold = np.random.default_rng(0).integers(FOLDS, size=len(cases))
    right = 0
    for held_out in range(FOLDS):
        judge = train([each for each, own in zip(cases, fold, strict=True) if own != held_out])
        for each, own in zip(cases, fold, strict=True):
            if own == held_out:
                right += bool(each.is_right[judge.chances(list(each.features)).argmax()])
    return round(right / len(cases), 4)


class Network(nn.Module):
    """A `Judge` that can be trained."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1, bias=False)
        self.hidden = nn.Linear(features, UNITS)
        self.out = nn.Linear(UNITS, 1, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores [...] of hypotheses, [..., features]."""
        inputs = functional.dropout(inputs, DROPPED, self.training)
        units = functional.dropout(functional.relu(self.hidden(inputs)), DROPPED_UNITS, self.training)
        scores: Tensor = (self.linear(inputs) + self.out(units))[..., 0]
        return scores


def train(cases: Sequence[Case]) -> Judge:
    """The same cases give the same judge."""
    torch.manual_seed(0)
    together = np.concatenate([each.features for each in cases])
    center, scale = together.mean(axis=0), together.std(axis=0) + 1e-3
    most = max(len(each.features) for each in cases)
    inputs = np.zeros((len(cases), most, len(center)), np.float32)
    is_there, is_right = np.zeros((2, len(cases), most), bool)
    for index, each in enumerate(cases):
        count = len(each.features)
        inputs[index, :count] = np.clip((each.features - center) / scale, -LARGEST, LARGEST)
        is_there[index, :count] = True
        is_right[index, :count] = each.is_right
    everything = tuple(torch.from_numpy(part) for part in (inputs, is_there, is_right))
    network = Network(len(center))
    fit(network, everything)
    return judge_of(network, center, scale)


def judge_of(network: Network, center: Curve, scale: Curve) -> Judge:
    """The same without torch, of features that are not scaled yet."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    return Judge(
        center,
        scale,
        weights=state["linear.weight"][0],
        hidden=state["hidden.weight"].T,
        bias=state["hidden.bias"],
        out=state["out.weight"][0],
    )


def fit(network: Network, everything: Sequence[Tensor]) -> None:
    """To inputs [clips, hypotheses, features], and which of the hypotheses are there and right."""
    clips = len(everything[0])
    optimizer = torch.optim.AdamW(network.parameters(), LARGEST_STEP, weight_decay=DECAY)
    steps = EPOCHS * -(-clips // CLIPS_AT_ONCE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LARGEST_STEP, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(clips), CLIPS_AT_ONCE):
            loss = unlikeliness(network, *(part[chosen] for part in everything))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    network.eval()


def unlikeliness(network: Network, inputs: Tensor, is_there: Tensor, is_right: Tensor) -> Tensor:
    """Minus the logarithm of the chance that a right one is chosen, the mean over clips."""
    never = -1e9
    likely = functional.log_softmax(network(inputs).masked_fill(~is_there, never), dim=1)
    return -torch.logsumexp(likely.masked_fill(~is_right, never), dim=1).mean()


def as_record(judge: Judge) -> dict[str, object]:
    """Four significant digits are more than the decision needs."""
    return {name: rounded(getattr(judge, name)) for name in Judge.__slots__}


def rounded(values: Curve) -> object:
    return np.vectorize(lambda value: float(f"{value:.4g}"), otypes=[float])(values).tolist()


if __name__ == "__main__":
    main()
