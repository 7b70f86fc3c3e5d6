"""Fit the judges of rhythm to clips of known truth: `python -m training.analysis.rhythm`.

They learn from the development clips and from clips in disguise, and are then asked about a fifth of both that was
held back: the figures are in what this writes, `rhythm_model.npz` beside
`deployments.engines.analysis.rhythm.model`. A clip's hypotheses compete with each other (a softmax over their
scores), and any that is right will do.

Softmax regression gets 92 % of the development clips right, and one hidden layer 95 %. But such a network learns
the corpus by heart, and is a poor judge of what else there is: of bands that numpy plays (the tests' `rhythms`) it
was right about 72 %, and regression about 99. Clips in disguise, noise on the features, and the mean of several
networks are there to bring that back.

The composers of `training.corpus.habits` are learned from too, and each in turn is left out of the training and
judged by the rest: clips of one composer say little about another's.

Rendering the clips takes an hour and a half on two processors, the first time; the rest twenty minutes. `--adapt N`
is quicker: it begins with the judges that are shipped, and adapts them to the composers and the first N development
clips, held near to what they were.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

import deployments.engines.analysis.rhythm.model as shipped
from deployments.engines.analysis.rhythm.bars import Bars, possible_bars
from deployments.engines.analysis.rhythm.beats import refine_beats
from deployments.engines.analysis.rhythm.hypotheses import Hearing, Hypothesis, hypotheses
from deployments.engines.analysis.rhythm.model import LARGEST, Judge
from deployments.engines.analysis.rhythm.onsets import FRAMES_PER_S, RATE_HZ, Curve, find_onsets
from training.corpus.clips import DEV_SEEDS, Clip, clips
from training.corpus.disguises import DISGUISED_SEEDS, disguised
from training.corpus.habit_clips import HABIT_SEEDS, HABITS, habit_clips
from training.corpus.scores import f_measure, tempo_accuracy_1

Marks = npt.NDArray[np.bool_]

NETWORKS = 6
UNITS = 32
EPOCHS = 60
CLIPS_AT_ONCE = 64
LARGEST_STEP = 0.003
DECAY = 0.1
DROPPED = 0.1
NOISE = 0.1
"""Added to features that are scaled to a standard deviation of 1."""

ADAPTED = ("weights", "hidden", "bias", "out")
HELD_BACK = 5
"""One of so many, to see what the judge is worth."""

ADAPTING_EPOCHS = 20
ADAPTING_STEP = 0.0005
HELD = 0.003
"""What it costs a judge that is adapted to differ from what it was: half of so much times the square."""

CORPUS = "corpus"
CORPUS_SHARES = 4.0
"""What the corpus counts where a composer counts 1: what was learned of it must stay."""

RIGHT_F = 0.7
GOOD_BEATS_F = 0.85


@dataclass(frozen=True, slots=True)
class Case:
    """A clip's hypotheses: `features` [hypotheses, features], and which of them are right [hypotheses]."""

    seed: int
    features: Curve
    is_right: Marks
    habit: str = CORPUS


def main() -> None:
    parser = argparse.ArgumentParser(prog="training.analysis.rhythm", description=__doc__)
    parser.add_argument(
        "--adapt", type=int, metavar="N", help="adapt the shipped judges, with N development clips"
    )
    arguments = parser.parse_args()
    seeds = [*DEV_SEEDS, *DISGUISED_SEEDS] if arguments.adapt is None else [*DEV_SEEDS[: arguments.adapt]]
    context = multiprocessing.get_context("spawn")
    # The processes share the processors; one thread each is quicker, and gives the same judge everywhere.
    with ProcessPoolExecutor(mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        made = list(pool.map(make_cases_of, seeds, chunksize=20))
        made += [pair for own in pool.map(make_cases_of_habit, HABITS) for pair in own]
        cases = {
            "beat": [case for case, _ in made if case is not None],
            "bar": [case for _, case in made if case is not None],
        }
        if arguments.adapt is None:
            judges = dict(zip(cases, pool.map(train, cases.values()), strict=True))
            figures = dict(zip(cases, pool.map(validate, cases.values()), strict=True))
        else:
            judges, figures = adapt_all(cases)
    about = {
        "trained by": "python -m training.analysis.rhythm",
        "seeds": [[own[0], own[-1]] for own in (DEV_SEEDS, DISGUISED_SEEDS)],
        "clips": {name: len(own) for name, own in cases.items()},
        "right": figures,
    }
    if arguments.adapt is not None:
        about = adapted_about(cases, figures, arguments.adapt)
    shipped.save_model(shipped.RhythmModel(**judges), about)
    print(json.dumps(about, indent=1))


def adapt_all(cases: Mapping[str, Sequence[Case]]) -> tuple[dict[str, Judge], dict[str, dict[str, float]]]:
    """The shipped judges, adapted, and what became of composers that were left out."""
    before = shipped.load_model()
    judges = {name: adapt(getattr(before, name), own) for name, own in cases.items()}
    return judges, {name: validate_by_habit(getattr(before, name), own) for name, own in cases.items()}


def adapted_about(
    cases: Mapping[str, Sequence[Case]], figures: Mapping[str, dict[str, float]], development_clips: int
) -> dict[str, Any]:
    """What those that were adapted say of themselves: the figures of those they began with, and their own."""
    before = shipped.read_about()
    return {
        **before,
        "adapted by": f"python -m training.analysis.rhythm --adapt {development_clips}",
        "adapted to clips": {name: len(own) for name, own in cases.items()},
        "right, composers left out": figures,
    }


def make_cases_of(seed: int) -> tuple[Case | None, Case | None]:
    return make_cases(next(disguised([seed]) if seed in DISGUISED_SEEDS else clips([seed])))


def make_cases_of_habit(habit: str) -> list[tuple[Case | None, Case | None]]:
    return [
        (beat and replace(beat, habit=habit), bar and replace(bar, habit=habit))
        for beat, bar in map(make_cases, habit_clips(habit, HABIT_SEEDS))
    ]


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


def validate(cases: Sequence[Case]) -> dict[str, float]:
    """The share of clips whose likeliest hypothesis is right, of those that the judge has not seen."""
    judge = train([case for index, case in enumerate(cases) if index % HELD_BACK])
    kinds: dict[str, list[bool]] = {"development": [], "disguised": []}
    for case in cases[::HELD_BACK]:
        is_right = bool(case.is_right[judge.chances(list(case.features)).argmax()])
        kinds["disguised" if case.seed in DISGUISED_SEEDS else "development"].append(is_right)
    return {kind: round(sum(own) / len(own), 4) for kind, own in kinds.items() if own}


def validate_by_habit(before: Judge, cases: Sequence[Case]) -> dict[str, float]:
    """The share of each composer's clips whose likeliest hypothesis is right, by a judge that was adapted to the
    others; of the development clips, by one that was adapted to all composers."""
    right = {}
    for habit in sorted({case.habit for case in cases}):
        judge = adapt(before, [case for case in cases if case.habit != habit])
        own = [case for case in cases if case.habit == habit]
        marks = [bool(case.is_right[judge.chances(list(case.features)).argmax()]) for case in own]
        right[habit] = round(sum(marks) / len(marks), 4)
    return right


class AdaptedNetwork(nn.Module):
    """All of a `Judge`, to be trained further; `center` and `scale` stay."""

    weights: Tensor
    hidden: Tensor
    bias: Tensor
    out: Tensor

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        for name in ADAPTED:
            self.register_parameter(name, nn.Parameter(torch.from_numpy(getattr(judge, name).copy())))
            self.register_buffer(f"{name}_before", torch.from_numpy(getattr(judge, name).copy()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores [...] of hypotheses, [..., features]."""
        if self.training:
            inputs = functional.dropout(inputs + NOISE * torch.randn_like(inputs), DROPPED)
        units = functional.dropout(functional.relu(inputs @ self.hidden + self.bias), DROPPED, self.training)
        scores: Tensor = inputs @ self.weights + units @ self.out
        return scores

    def distance(self) -> Tensor:
        """Half of the squares of what has changed."""
        return 0.5 * sum(
            (torch.square(getattr(self, name) - getattr(self, f"{name}_before")).sum() for name in ADAPTED),
            torch.zeros(()),
        )


def adapt(before: Judge, cases: Sequence[Case]) -> Judge:
    """The judge, trained further on cases, each composer counting alike, the corpus more.

    The same cases give the same judge.
    """
    torch.manual_seed(0)
    inputs, is_there, is_right = as_tensors(cases, before.center, before.scale)
    habits = [case.habit for case in cases]
    shares = {habit: CORPUS_SHARES if habit == CORPUS else 1.0 for habit in set(habits)}
    scale = len(cases) / sum(shares.values())
    weights = torch.tensor([scale * shares[habit] / habits.count(habit) for habit in habits])
    network = AdaptedNetwork(before)
    optimizer = torch.optim.Adam(network.parameters(), ADAPTING_STEP)
    for _ in range(ADAPTING_EPOCHS):
        for chosen in torch.split(torch.randperm(len(cases)), CLIPS_AT_ONCE):
            each = unlikelinesses(network, inputs[chosen], is_there[chosen], is_right[chosen])
            loss = (weights[chosen] * each).mean() + HELD * network.distance()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    trained = {name: getattr(network, name).detach().numpy() for name in ADAPTED}
    return Judge(before.center, before.scale, **trained)


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
        if self.training:
            inputs = functional.dropout(inputs + NOISE * torch.randn_like(inputs), DROPPED)
        units = functional.dropout(functional.relu(self.hidden(inputs)), DROPPED, self.training)
        scores: Tensor = (self.linear(inputs) + self.out(units))[..., 0]
        return scores


def train(cases: Sequence[Case]) -> Judge:
    """The same cases give the same judge."""
    together = np.concatenate([each.features for each in cases])
    center, scale = together.mean(axis=0), together.std(axis=0) + 1e-3
    everything = as_tensors(cases, center, scale)
    return judge_of([fit(everything, seed) for seed in range(NETWORKS)], center, scale)


def as_tensors(cases: Sequence[Case], center: Curve, scale: Curve) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs [clips, hypotheses, features], and which of the hypotheses are there and right [clips, hypotheses]."""
    most = max(len(each.features) for each in cases)
    inputs = np.zeros((len(cases), most, len(center)), np.float32)
    is_there, is_right = np.zeros((2, len(cases), most), bool)
    for index, each in enumerate(cases):
        count = len(each.features)
        inputs[index, :count] = np.clip((each.features - center) / scale, -LARGEST, LARGEST)
        is_there[index, :count] = True
        is_right[index, :count] = each.is_right
    return torch.from_numpy(inputs), torch.from_numpy(is_there), torch.from_numpy(is_right)


def judge_of(networks: Sequence[Network], center: Curve, scale: Curve) -> Judge:
    """The mean of networks, without torch, and for features that are not scaled yet."""
    states = [{name: value.numpy() for name, value in each.state_dict().items()} for each in networks]
    return Judge(
        center,
        scale,
        weights=np.mean([state["linear.weight"][0] for state in states], axis=0),
        hidden=np.concatenate([state["hidden.weight"].T for state in states], axis=1),
        bias=np.concatenate([state["hidden.bias"] for state in states]),
        out=np.concatenate([state["out.weight"][0] / np.float32(len(states)) for state in states]),
    )


def fit(everything: Sequence[Tensor], seed: int) -> Network:
    """To inputs [clips, hypotheses, features], and which of the hypotheses are there and right."""
    torch.manual_seed(seed)
    clips, _, features = everything[0].shape
    network = Network(features)
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
    return network.eval()


def unlikeliness(network: nn.Module, inputs: Tensor, is_there: Tensor, is_right: Tensor) -> Tensor:
    """The mean of `unlikelinesses`."""
    return unlikelinesses(network, inputs, is_there, is_right).mean()


def unlikelinesses(network: nn.Module, inputs: Tensor, is_there: Tensor, is_right: Tensor) -> Tensor:
    """[clips]: minus the logarithm of the chance that a right one is chosen."""
    never = -1e9
    likely = functional.log_softmax(network(inputs).masked_fill(~is_there, never), dim=1)
    return -torch.logsumexp(likely.masked_fill(~is_right, never), dim=1)


if __name__ == "__main__":
    main()
