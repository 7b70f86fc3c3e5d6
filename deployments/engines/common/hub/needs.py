"""What a model needs from the hub: which files of which repositories. The names are those that the libraries ask
for: the cache of `t5-base` is another folder than that of `google-t5/t5-base`, though the hub serves the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Repository:
    """`required` are groups of alternatives: the first that exists is taken of each. `optional` files are taken
    where they exist."""

    name: str
    required: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...] = ()


Read = Callable[[str, str, int | None], Path | None]
"""(repository, file, most bytes) -> its path; None if it is larger, or not there."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What a model needs from the hub. `repositories` yields as it learns from files that `Read` gives."""

    model: str
    repositories: Callable[[Read], Iterator[Repository]]
