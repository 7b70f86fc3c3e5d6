"""The separation models that this application serves, and what a request may ask of them."""

from __future__ import annotations

from collections.abc import Sequence

from configs.settings import SeparationSettings
from deployments.engines.separation.catalog import SeparatorEntry
from deployments.engines.separation.options import SeparationOptions
from serve_app.http.problems import FieldError, Unprocessable


class ServedSeparators:
    def __init__(self, entries: Sequence[SeparatorEntry], settings: SeparationSettings) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._settings = settings
        self.default = entries[0].name if entries else None

    @property
    def entries(self) -> tuple[SeparatorEntry, ...]:
        """The default first."""
        return tuple(self._entries.values())

    def choose(self, name: str | None, options: SeparationOptions) -> SeparatorEntry:
        """The model that a request means. Raises Unprocessable for one that is not served or cannot do it."""
        chosen = self._entries.get(name or self.default or "")
        if chosen is None:
            served = ", ".join(self._entries) or "none"
            raise _invalid("model", f"model {name!r} is not served here; served are: {served}")
        if options.shifts > self._settings.max_shifts:
            raise _invalid("shifts", f"at most {self._settings.max_shifts} shifts, not {options.shifts}")
        if options.stems is not None and options.two_stems is not None:
            raise _invalid("two_stems", "two_stems and stems exclude each other")
        _require_sources("stems", options.stems or (), chosen)
        _require_sources("two_stems", (options.two_stems,) if options.two_stems is not None else (), chosen)
        return chosen


def _require_sources(field: str, names: Sequence[str], entry: SeparatorEntry) -> None:
    """Nothing is refused of a model whose sources are known only once it is loaded."""
    for name in names:
        if entry.sources and name not in entry.sources:
            raise _invalid(
                field, f"model {entry.name} has no source {name!r}; it has: {', '.join(entry.sources)}"
            )
    if len(set(names)) < len(names):
        raise _invalid(field, "a source is named twice")


def _invalid(field: str, message: str) -> Unprocessable:
    return Unprocessable(message, errors=[FieldError(field, message)])
