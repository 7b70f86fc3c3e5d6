"""The families of models, a row each: how a model of a family is configured, found, fetched and loaded.

A new family is a folder of engines and a row here; what the application shows, downloads and deploys follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from configs.settings import Settings
from deployments.engines.analysis import catalog as analysis
from deployments.engines.analysis.catalog import AnalyserEntry, AnalyserOptions
from deployments.engines.analysis.load import load as load_analyser
from deployments.engines.analysis.needs import of_analyser
from deployments.engines.analysis.protocol import AnalyserEngine
from deployments.engines.common.catalog import Catalog, Named
from deployments.engines.common.device import Device
from deployments.engines.common.errors import UnknownModel
from deployments.engines.common.hosted import Hosted
from deployments.engines.common.hub.needs import Weights
from deployments.engines.music import catalog as music
from deployments.engines.music.catalog import EngineKind, EngineOptions, ModelEntry
from deployments.engines.music.load import load as load_generator
from deployments.engines.music.needs import of_generator
from deployments.engines.music.protocol import Engine
from deployments.engines.separation import catalog as separation
from deployments.engines.separation.catalog import SeparatorEntry, SeparatorOptions
from deployments.engines.separation.load import load as load_separator
from deployments.engines.separation.needs import of_separator
from deployments.engines.separation.protocol import SeparatorEngine

E = TypeVar("E", bound=Named)
O = TypeVar("O")  # noqa: E741 - of options, as E is of entries
H = TypeVar("H", bound=Hosted[Any])


@dataclass(frozen=True, slots=True, eq=False)
class Family(Generic[E, O, H]):
    """`name` is also the name of its default model's deployment.

    `served` returns the configured models' names, the default first; `find` the entry of a name, as the settings
    want it; `options` how an engine runs with this fraction of a GPU's memory (None: all of it). `load` takes an
    entry, `cache_dir` and `options`, blocks, and raises ModelUnavailable. `needs` returns what an entry needs from
    the hub, None for nothing.
    """

    name: str
    catalog: Catalog[E]
    served: Callable[[Settings], Sequence[str]]
    find: Callable[[str, Settings], E]
    options: Callable[[Settings, float | None], O]
    load: Callable[..., H]
    needs: Callable[[E], Weights | None]

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process has its own table: a family is the row there."""
        return _named, (self.name,)


def _generator_options(settings: Settings, gpu_memory_fraction: float | None) -> EngineOptions:
    models = settings.models
    return EngineOptions(
        device=Device(models.device),
        dtype=models.dtype,
        threads=models.threads,
        gpu_memory_fraction=gpu_memory_fraction,
        takes=models.takes,
        waiting=models.waiting,
        kv_bytes=models.kv_bytes,
        extend_stride_s=models.extend_stride_s,
    )


def _separator_options(settings: Settings, gpu_memory_fraction: float | None) -> SeparatorOptions:
    models = settings.separation
    return SeparatorOptions(
        device=Device(models.device),
        dtype=models.dtype,
        threads=models.threads,
        gpu_memory_fraction=gpu_memory_fraction,
        batch=models.batch,
    )


def _analyser_options(settings: Settings, gpu_memory_fraction: float | None) -> AnalyserOptions:
    models = settings.analysis
    return AnalyserOptions(
        device=Device(models.device),
        melody=models.melody,
        threads=models.threads,
        gpu_memory_fraction=gpu_memory_fraction,
    )


GENERATOR: Family[ModelEntry, EngineOptions, Engine] = Family(
    "Generator",
    music.CATALOG,
    served=lambda settings: settings.models.served,
    find=lambda name, settings: music.find(name, EngineKind(settings.models.engine)),
    options=_generator_options,
    load=load_generator,
    needs=of_generator,
)
SEPARATOR: Family[SeparatorEntry, SeparatorOptions, SeparatorEngine] = Family(
    "Separator",
    separation.CATALOG,
    served=lambda settings: settings.separation.served,
    find=lambda name, _: separation.find(name),
    options=_separator_options,
    load=load_separator,
    needs=of_separator,
)
ANALYSER: Family[AnalyserEntry, AnalyserOptions, AnalyserEngine] = Family(
    "Analyser",
    analysis.CATALOG,
    served=lambda settings: () if settings.analysis.served is None else (settings.analysis.served,),
    find=lambda name, _: analysis.find(name),
    options=_analyser_options,
    load=load_analyser,
    needs=of_analyser,
)
FAMILIES: tuple[Family[Any, Any, Any], ...] = (GENERATOR, SEPARATOR, ANALYSER)


def _named(name: str) -> Family[Any, Any, Any]:
    return next(family for family in FAMILIES if family.name == name)


@dataclass(frozen=True, slots=True)
class ServedModel(Generic[E]):
    """A model that the settings want served, and the name of the deployment that serves it."""

    family: Family[E, Any, Any]
    entry: E
    deployment: str

    def weights(self) -> Weights | None:
        """What it needs from the hub, None for nothing."""
        return self.family.needs(self.entry)

    def load(self, settings: Settings, gpu_memory_fraction: float | None = None, **more: Any) -> Any:
        """An engine; blocks. `more` is what this family's `load` takes besides. Raises ModelUnavailable."""
        options = self.family.options(settings, gpu_memory_fraction)
        return self.family.load(
            self.entry, cache_dir=Path(settings.models.cache_dir), options=options, **more
        )


def served_models(settings: Settings) -> tuple[ServedModel[Any], ...]:
    """By family, each one's default first. Raises UnknownModel, ModelUnavailable."""
    models: list[ServedModel[Any]] = []
    for family in FAMILIES:
        entries = [family.find(name, settings) for name in family.served(settings)]
        require_distinct(entry.name for entry in entries)
        models += [
            ServedModel(family, entry, family.name if index == 0 else f"{family.name}-{_plain(entry.name)}")
            for index, entry in enumerate(entries)
        ]
    return tuple(models)


def of_family(family: Family[E, Any, Any], models: Iterable[ServedModel[Any]]) -> list[ServedModel[E]]:
    return [model for model in models if model.family is family]


def require_distinct(names: Iterable[str]) -> None:
    """Raises UnknownModel for two served models of one name, or of names that differ in punctuation only: requests
    and deployments are named after them, a local folder by its last part."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(_plain(name))
        if other is not None:
            raise UnknownModel(
                f"two served models cannot be told apart, {other!r} and {name!r}: name each model once, and "
                "give local folders different names"
            )
        seen[_plain(name)] = name


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
