"""A catalog of one family of models: their names, and local folders that hold one more.

Facts only: a catalog needs no torch, loads nothing and reaches no hub.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from deployments.engines.common.errors import UnknownModel


class Named(Protocol):
    @property
    def name(self) -> str: ...


E = TypeVar("E", bound=Named)


class Catalog(Generic[E]):
    """`family` is what its models are called ("separator"); `local` returns the entry of a folder (an absolute
    path), None where the folder holds no such model; `local_hint` says what such folders hold."""

    def __init__(
        self, family: str, entries: Sequence[E], local: Callable[[Path], E | None], local_hint: str
    ) -> None:
        self._family = family
        self._entries = {entry.name: entry for entry in entries}
        self._local = local
        self._local_hint = local_hint

    @property
    def entries(self) -> tuple[E, ...]:
        """Every named model, smallest first."""
        return tuple(self._entries.values())

    def find(self, name: str) -> E:
        """The entry of a name, or of a local folder's absolute path. Raises UnknownModel, ModelUnavailable."""
        entry = self._entries.get(name)
        if entry is None and Path(name).is_absolute():
            entry = self._local(Path(name))
        if entry is None:
            raise unknown_model(self._family, name, list(self._entries), self._local_hint)
        return entry


def unknown_model(family: str, name: str, known: Sequence[str], local_hint: str) -> UnknownModel:
    """An error that names the nearest of the `known` names, and all of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownModel(
        f"There is no {family} {name!r}.{guess} Known are {', '.join(known)}, "
        f"and absolute paths of folders with {local_hint}."
    )
