"""The engines that are compared with each other on one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch

from benchmarks.generator.batch import SegueBatch, Wish
from benchmarks.generator.hugging_face import Transformers
from benchmarks.generator.models import Model, load_model
from benchmarks.generator.stock import Audiocraft
from deployments.engines.music.batching.linear import Precision
from deployments.engines.music.protocol import Sampling

AUDIOCRAFT = "audiocraft"
TRANSFORMERS = "transformers"
SEGUE = "segue"

Times = Mapping["Contestant", list[float]]
"""Seconds, for each round."""

_SAMPLING = Sampling(seed=1)
_WARM_UP_FRAMES = 2
_CPU_PRECISIONS = (Precision.FLOAT32, Precision.BFLOAT16, Precision.INT8)
_GPU_PRECISIONS = (Precision.FLOAT16, Precision.BFLOAT16)


@dataclass(frozen=True, slots=True)
class Contestant:
    """An engine and the number format of its weights."""

    engine: str
    format: str


@dataclass(frozen=True, slots=True)
class Field:
    """One model in every engine. The weights of audiocraft's model are those of all."""

    model: Model
    audiocraft: Audiocraft
    transformers: Transformers | None
    segue: Mapping[Precision, SegueBatch]

    @classmethod
    def of(cls, name: str, device: torch.device) -> Self:
        model = load_model(name, device)
        precisions = _CPU_PRECISIONS if device.type == "cpu" else _GPU_PRECISIONS
        field = cls(
            model=model,
            audiocraft=Audiocraft(model, _SAMPLING),
            transformers=None if model.prepends else Transformers(model, _SAMPLING),
            segue={precision: SegueBatch(model, precision, _SAMPLING) for precision in precisions},
        )
        field._warm_up()
        return field

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for batch in self.segue.values():
            batch.close()

    @property
    def baseline(self) -> Contestant:
        return Contestant(AUDIOCRAFT, str(self.model.dtype).removeprefix("torch."))

    @property
    def second_baseline(self) -> Contestant:
        return Contestant(TRANSFORMERS, self.baseline.format)

    def each(
        self,
        audiocraft: Callable[[Audiocraft], float],
        transformers: Callable[[Transformers], float],
        segue: Callable[[SegueBatch], float],
    ) -> dict[Contestant, Callable[[], float]]:
        """The same measurement of every engine."""
        contestants: dict[Contestant, Callable[[], float]] = {
            self.baseline: partial(audiocraft, self.audiocraft)
        }
        if self.transformers is not None:
            contestants[self.second_baseline] = partial(transformers, self.transformers)
        return contestants | self.each_segue(segue)

    def each_segue(self, measure: Callable[[SegueBatch], float]) -> dict[Contestant, Callable[[], float]]:
        return {
            Contestant(SEGUE, precision): partial(measure, batch) for precision, batch in self.segue.items()
        }

    def _warm_up(self) -> None:
        self.audiocraft.generate(_WARM_UP_FRAMES)
        if self.transformers is not None:
            self.transformers.generate(_WARM_UP_FRAMES)
        for batch in self.segue.values():
            batch.generate([Wish(_WARM_UP_FRAMES)])
