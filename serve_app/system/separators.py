"""The separation models that this application serves, and what a request may ask of them."""

from __future__ import annotations

from collections.abc import Sequence

from configs.settings import SeparationSettings
from deployments.engines.families import ServedModel
from deployments.engines.separation.catalog import SeparatorEntry
from deployments.engines.separation.options import SeparationOptions
from serve_app.system.models import ServedEntries, invalid


class ServedSeparators(ServedEntries[SeparatorEntry]):
    def __init__(self, models: Sequence[ServedModel[SeparatorEntry]], settings: SeparationSettings) -> None:
        super().__init__(models)
        self._settings = settings

    def choose(self, name: str | None, options: SeparationOptions) -> SeparatorEntry:
        """The model that a request means. Raises Unprocessable for one that is not served or cannot do it."""
        chosen = self.find(name)
        if options.shifts > self._settings.max_shifts:
            raise invalid("shifts", f"at most {self._settings.max_shifts} shifts, not {options.shifts}")
        if options.stems is not None and options.two_stems is not None:
            raise invalid("two_stems", "two_stems and stems exclude each other")
        _require_sources("stems", options.stems or (), chosen)
        _require_sources("two_stems", (options.two_stems,) if options.two_stems is not None else (), chosen)
        return chosen


def _require_sources(field: str, names: Sequence[str], entry: SeparatorEntry) -> None:
    """Nothing is refused of a model whose sources are known only once it is loaded."""
    for name in names:
        if entry.sources and name not in entry.sources:
            raise invalid(
                field, f"model {entry.name} has no source {name!r}; it has: {', '.join(entry.sources)}"
            )
    if len(set(names)) < len(names):
        raise invalid(field, "a source is named twice")
