"""Putting segments together again: overlap-add within a pass, then the mean over shifts and parts.

Every sum is made in float32 and in the order in which `demucs.apply.apply_model` makes it, so with the same
estimates the result is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deployments.engines.separation.passes import Pass, Stretch, ramp
from deployments.engines.separation.protocol import Estimates


class PassSum:
    """What has come back from one pass and is not taken yet. `sources` are indices into the model's.

    `frontier` is the first position that a later segment may still add to.
    """

    def __init__(self, of: Pass, sources: Sequence[int], channels: int) -> None:
        self.sources = tuple(sources)
        self.frontier = 0
        self._of = of
        self._origin = 0
        self._ramp = ramp(of.segment_samples)
        self._sum = np.zeros((len(self.sources), channels, 0), np.float32)
        self._weight = np.zeros(0, np.float32)

    def add(self, stretch: Stretch, estimates: Estimates) -> None:
        """The next stretch of the pass, in order; `estimates` [sources, channels, padded samples]."""
        skipped = max(0, -stretch.start)
        begin = stretch.start + skipped - self._origin
        end = stretch.start + stretch.samples - self._origin
        self._reach(end)
        weight = self._ramp[skipped : stretch.samples]
        trimmed = estimates[..., stretch.trim + skipped : stretch.trim + stretch.samples]
        self._sum[..., begin:end] += weight * trimmed
        self._weight[begin:end] += weight
        self.frontier = min(stretch.start + self._of.stride_samples, self._of.track_samples)

    def take(self, end: int) -> Estimates:
        """The finished estimates up to the position `end`, which is not beyond the frontier."""
        count = end - self._origin
        taken: Estimates = self._sum[..., :count] / self._weight[:count]
        self._sum = self._sum[..., count:].copy()
        self._weight = self._weight[count:].copy()
        self._origin = end
        return taken

    def _reach(self, end: int) -> None:
        missing = end - self._weight.size
        if missing > 0:
            self._sum = np.pad(self._sum, ((0, 0), (0, 0), (0, missing)))
            self._weight = np.pad(self._weight, (0, missing))


class Mixture:
    """The passes of all parts, as estimates of the `wanted` sources."""

    def __init__(
        self,
        passes: Sequence[Sequence[Pass]],
        weights: Sequence[Sequence[float]],
        wanted: Sequence[int],
        channels: int,
    ) -> None:
        """`passes` and `weights` (a number per source) for each part."""
        self._wanted = tuple(wanted)
        self._channels = channels
        self._weights = weights
        self._sums = [
            [
                PassSum(each, [source for source in wanted if of_part[source]], channels)
                for each in of_part_passes
            ]
            for of_part_passes, of_part in zip(passes, weights, strict=True)
        ]
        self._taken = 0

    def sum_of(self, part: int, shift: int) -> PassSum:
        return self._sums[part][shift]

    def finished(self) -> Estimates | None:
        """What no later segment can change and has not been given yet: float32 [wanted, channels, samples];
        None where there is nothing new."""
        frontier = min(each.frontier for of_part in self._sums for each in of_part)
        if frontier <= self._taken:
            return None
        mean = np.zeros((len(self._wanted), self._channels, frontier - self._taken), np.float32)
        for of_part, weights in zip(self._sums, self._weights, strict=True):
            if of_part:
                self._add_part(mean, of_part, weights, frontier)
        for row, source in enumerate(self._wanted):
            mean[row] /= np.float32(sum(weights[source] for weights in self._weights))
        self._taken = frontier
        return mean

    def _add_part(
        self, mean: Estimates, sums: Sequence[PassSum], weights: Sequence[float], frontier: int
    ) -> None:
        total = sums[0].take(frontier)
        for each in sums[1:]:
            total += each.take(frontier)
        if len(sums) > 1:
            total /= np.float32(len(sums))
        for row, source in enumerate(sums[0].sources):
            mean[self._wanted.index(source)] += total[row] * np.float32(weights[source])
