"""What was heard, apart by what kind of clip it was heard in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from training.corpus.clips import DEGRADATIONS, Clip
from training.corpus.music import STRATA

T = TypeVar("T")


def groups(heard: Sequence[T], clip_of: Callable[[T], Clip]) -> list[tuple[str, list[T]]]:
    """All, those of each stratum, and those of each degradation, with their names; none that is empty."""
    found = [("all", list(heard))]
    found += [(stratum, [each for each in heard if clip_of(each).stratum == stratum]) for stratum in STRATA]
    found += [
        (f"sound: {degradation}", [each for each in heard if clip_of(each).degradation == degradation])
        for degradation in DEGRADATIONS
    ]
    return [(name, own) for name, own in found if own]
