"""One step of all takes, from their newest columns to the tokens of the next: what a device is best at.

`EagerStepper` calls the decoder for the takes that there are just now, each with a cache of its own length. On a
CPU the decoder's step and the drawing are kernels where the machine has them, else torch's operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from deployments.engines.music.batching.decoder import Cache, Decoder, Layout
from deployments.engines.music.batching.sampling import SamplingRows, choose
from deployments.engines.music.batching.sequence import TokenSequence
from deployments.engines.music.protocol import Sampling


class Stepping(Protocol):
    """What a stepper needs of a take. `column`: int64 [K], the newest; `draws_made`: columns drawn so far, which is
    the take's place in its random stream."""

    @property
    def cache(self) -> Cache: ...

    @property
    def column(self) -> Tensor: ...

    @property
    def sequence(self) -> TokenSequence:
        """Of the current window: another object in every window."""
        ...

    @property
    def sampling(self) -> Sampling: ...

    @property
    def draws_made(self) -> int: ...

    def noise(self, codebooks: int, card: int) -> Tensor:
        """Gumbel noise for the next draw, float32 [codebooks, card]."""
        ...


class Stepper(Protocol):
    """For one thread. A take's cache comes from `new_cache`, is filled by the decoder's `prefill`, and goes back by
    `release` when the take has ended in whatever way."""

    def new_cache(self, rows: int, length: int, text: Tensor | None) -> Cache:
        """As `Decoder.new_cache`."""
        ...

    def cache_bytes(self, rows: int, length: int) -> int:
        """What such a cache occupies."""
        ...

    def release(self, cache: Cache) -> None: ...

    def draw(self, take: Stepping, logits: Tensor) -> Tensor:
        """A take's first column after its context. logits: float32 [rows, K, card] -> int64 [K]"""
        ...

    def step(self, takes: Sequence[Stepping]) -> Tensor:
        """One position further for every take: the next column's tokens, int64 [takes, K]."""
        ...


class EagerStepper:
    """Satisfies `Stepper`: no take has any part in another's arithmetic."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._group: _Group | None = None

    def new_cache(self, rows: int, length: int, text: Tensor | None) -> Cache:
        return self._decoder.new_cache(rows, length, text)

    def cache_bytes(self, rows: int, length: int) -> int:
        return self._decoder.cache_bytes(rows, length)

    def release(self, cache: Cache) -> None:
        if self._group is not None and any(take.cache is cache for take in self._group.takes):
            self._group = None

    def draw(self, take: Stepping, logits: Tensor) -> Tensor:
        return _Group([take], self._decoder).draw(logits)[0]

    def step(self, takes: Sequence[Stepping]) -> Tensor:
        if self._group is None or self._group.takes != list(takes):
            self._group = _Group(takes, self._decoder)
        columns = torch.stack([take.column for take in takes])  # [takes, K]
        return self._group.draw(self._decoder.step(columns, self._group.layout))


class _Group:
    """The takes that step together, and what is the same for all their steps."""

    def __init__(self, takes: Sequence[Stepping], decoder: Decoder) -> None:
        self.takes = list(takes)
        self.layout = Layout([take.cache for take in takes], decoder.device)
        self._decoder = decoder
        self._by_kernel = [
            index
            for index, take in enumerate(self.takes)
            if decoder.kernels is not None
            and (take.sampling.top_p == 0.0 or take.sampling.temperature == 0.0)
        ]
        self._by_torch = [index for index in range(len(self.takes)) if index not in self._by_kernel]
        settings = [self.takes[index].sampling for index in self._by_torch]
        self._sampling = SamplingRows.of(settings, decoder.card, decoder.device)
        self._cfg_coef = torch.tensor([each.cfg_coef for each in settings], device=decoder.device)[
            :, None, None
        ]

    @torch.inference_mode()
    def draw(self, logits: Tensor) -> Tensor:
        """logits: float [R, K, card] -> int64 [takes, K]"""
        if not self._by_torch:
            return self._draw_by_kernel(logits.float())
        if not self._by_kernel:
            return self._draw_by_torch(logits.float())
        drawn = torch.empty((len(self.takes), self._decoder.codebooks), dtype=torch.int64)
        drawn[self._by_kernel] = self._draw_by_kernel(logits.float())
        drawn[self._by_torch] = self._draw_by_torch(logits.float())
        return drawn

    def _draw_by_kernel(self, logits: Tensor) -> Tensor:
        assert self._decoder.kernels is not None  # noqa: S101 - else nothing is drawn by it
        rows = [self.layout.spans[index][:2] for index in self._by_kernel]
        return self._decoder.kernels.draw(logits, rows, [self.takes[index] for index in self._by_kernel])

    def _draw_by_torch(self, logits: Tensor) -> Tensor:
        takes = [self.takes[index] for index in self._by_torch]
        noise = torch.stack([take.noise(self._decoder.codebooks, self._decoder.card) for take in takes])
        return choose(self._guide(logits), noise, self._sampling)

    def _guide(self, logits: Tensor) -> Tensor:
        """Classifier-free guidance: float32 [R, K, card] -> [takes, K, card]. A take with one row has it on both
        sides."""
        conditional, null = logits[self.layout.conditional], logits[self.layout.null]
        if self._by_kernel:
            conditional, null = conditional[self._by_torch], null[self._by_torch]
        return null + (conditional - null) * self._cfg_coef
