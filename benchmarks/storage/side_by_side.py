"""Segue's store and plain boto3 side by side: who has its turn when, and what stands in the tables."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from statistics import median

from benchmarks.kit.tables import Row
from benchmarks.storage.stores import Place

SEGUE, BOTO3 = "Segue", "boto3"


def in_turns(place: Place, round_number: int) -> Sequence[str]:
    """The ways to be measured in a round; who is first alternates. Only S3 can be reached by boto3."""
    if not place.is_s3:
        return (SEGUE,)
    return (SEGUE, BOTO3) if round_number % 2 == 0 else (BOTO3, SEGUE)


class Rates:
    """What was measured, by place, case and way, in the order of the rounds."""

    def __init__(self) -> None:
        self._per_s: dict[tuple[str, Hashable, str], list[float]] = defaultdict(list)

    def add(self, place: Place, case: Hashable, way: str, per_s: float) -> None:
        self._per_s[place.name, case, way].append(per_s)

    def median(self, place: Place, case: Hashable, way: str) -> float:
        """NaN if that way was never measured."""
        found = self._per_s[place.name, case, way]
        return median(found) if found else math.nan

    def quotient(self, place: Place, case: Hashable) -> float:
        """Segue's rate over boto3's: the median of the rounds' own. NaN where boto3 was not measured."""
        ours, theirs = (self._per_s[place.name, case, way] for way in (SEGUE, BOTO3))
        if not theirs:
            return math.nan
        return median(our / their for our, their in zip(ours, theirs, strict=True))

    def columns(self, place: Place, case: Hashable, what: str) -> Row:
        return {
            f"{SEGUE}: {what}/s": self.median(place, case, SEGUE),
            f"{BOTO3}: {what}/s": self.median(place, case, BOTO3),
            f"of {BOTO3}": self.quotient(place, case),
        }
