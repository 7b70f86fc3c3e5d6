"""What the musicians noted, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """`at_s` is the moment of the end (Unix time); `outcome` an HTTP status, or how a take ended."""

    at_s: float
    name: str
    seconds: float
    outcome: str


def read(path: Path) -> list[Sample]:
    return [Sample(**json.loads(line)) for line in path.read_text().splitlines()]


def of(samples: Sequence[Sample], name: str) -> list[Sample]:
    return [sample for sample in samples if sample.name == name]


def windows(
    samples: Sequence[Sample], began_s: float, window_s: float
) -> Iterator[tuple[float, list[Sample]]]:
    """The samples of each window of time, from the first to the last; with its middle, in seconds since the
    beginning."""
    if not samples:
        return
    last = max(int((sample.at_s - began_s) // window_s) for sample in samples)
    for index in range(last + 1):
        start_s = began_s + index * window_s
        found = [sample for sample in samples if start_s <= sample.at_s < start_s + window_s]
        yield (index + 0.5) * window_s, found
