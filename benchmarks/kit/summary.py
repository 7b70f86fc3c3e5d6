"""Median and 95th percentile: what stands in the tables for a list of measured values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self


@dataclass(frozen=True, slots=True)
class Summary:
    """`count` values; all are NaN if there were none."""

    count: int
    median: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        if not values:
            return cls(0, math.nan, math.nan)
        return cls(len(values), median(values), percentile(values, 95))

    @classmethod
    def in_ms(cls, values_s: Sequence[float]) -> Self:
        return cls.of([value_s * 1000 for value_s in values_s])


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank: a value that was measured, never one in between. Of fewer than 20 values the 95th
    percentile is the largest. Raises ValueError if there are none."""
    if not values:
        raise ValueError("no values")
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(0, rank - 1)]
