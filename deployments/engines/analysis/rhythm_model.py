"""The judges of hypotheses: small networks fitted to music of known truth (`benchmarks.train_rhythm`). Their
weights are in `rhythm_model.json`, with the figures of their training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from deployments.engines.analysis.rhythm_onsets import Curve

FILE = "rhythm_model.json"
LARGEST = 4.0
"""Features further than so many standard deviations from their mean count as that."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A linear part and one hidden layer of rectified units, added up to a score. All float32: `center`, `scale`
    and `weights` [features], `hidden` [features, units], `bias` and `out` [units]."""

    center: Curve
    scale: Curve
    weights: Curve
    hidden: Curve
    bias: Curve
    out: Curve

    def chances(self, features: Sequence[Curve]) -> npt.NDArray[np.float64]:
        """How likely each hypothesis is the right one; they add up to 1."""
        inputs = np.clip((np.stack(features) - self.center) / self.scale, -LARGEST, LARGEST)
        units = np.maximum(inputs @ self.hidden + self.bias, 0)
        scores = (inputs @ self.weights + units @ self.out).astype(np.float64)
        likely = np.exp(scores - scores.max())
        chances: npt.NDArray[np.float64] = likely / likely.sum()
        return chances

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(*(np.array(record[name], np.float32) for name in cls.__slots__))


@dataclass(frozen=True, slots=True)
class RhythmModel:
    """`beat` judges `Hypothesis`es, `bar` judges `Bars`."""

    beat: Judge
    bar: Judge


@cache
def load_model() -> RhythmModel:
    """The one that is shipped."""
    text = resources.files("deployments.engines.analysis").joinpath(FILE).read_text(encoding="utf-8")
    record = json.loads(text)
    return RhythmModel(Judge.of_record(record["beat"]), Judge.of_record(record["bar"]))
