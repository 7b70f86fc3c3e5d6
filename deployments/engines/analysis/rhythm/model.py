"""The judges of hypotheses: small networks fitted to music of known truth (`training.analysis.rhythm`). Their
weights are in `rhythm_model.npz`, with the figures of their training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deployments.engines.analysis.rhythm.onsets import Curve

FILE = Path(__file__).with_name("rhythm_model.npz")
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


@dataclass(frozen=True, slots=True)
class RhythmModel:
    """`beat` judges `Hypothesis`es, `bar` judges `Bars`."""

    beat: Judge
    bar: Judge


def save_model(model: RhythmModel, about: Mapping[str, Any]) -> None:
    """As the one that is shipped; half precision is more than the decision needs."""
    arrays = {
        f"{name}.{part}": getattr(getattr(model, name), part).astype(np.float16)
        for name in RhythmModel.__slots__
        for part in Judge.__slots__
    }
    np.savez_compressed(FILE, about=np.array(json.dumps(about)), **arrays)


@cache
def load_model() -> RhythmModel:
    """The one that is shipped."""
    with np.load(FILE, allow_pickle=False) as stored:
        judges = (
            Judge(*(stored[f"{name}.{part}"].astype(np.float32) for part in Judge.__slots__))
            for name in RhythmModel.__slots__
        )
        return RhythmModel(*judges)


def read_about() -> dict[str, Any]:
    """How the one that is shipped was trained, and with what success."""
    with np.load(FILE, allow_pickle=False) as stored:
        about: dict[str, Any] = json.loads(str(stored["about"]))
    return about
