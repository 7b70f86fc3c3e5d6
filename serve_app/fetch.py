"""Models' weights fetched before anything serves: `python -m serve_app.fetch [--config CONFIG.yaml] [NAME ...]`,
for images and for volumes of a cluster; `make run` does the same in `preflight`.

Without names, what the deploy file and the environment serve. Ends with 1 and one sentence where it cannot.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from configs.environment import DEFAULT_PROFILE, load_settings
from configs.settings import Settings
from deployments.engines.analysis import catalog as analysis
from deployments.engines.analysis.needs import of_analyser
from deployments.engines.common.errors import EngineError, UnknownModel
from deployments.engines.common.hub.fetch import Progress, fetch, is_cached
from deployments.engines.common.hub.needs import Weights
from deployments.engines.music import catalog as registry
from deployments.engines.music.needs import of_generator
from deployments.engines.separation import catalog as separation
from deployments.engines.separation.needs import of_separator

INTERRUPTED = 130


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def settings_of(config: Path) -> Settings:
    """The settings of a deploy file's application. Raises ValueError."""
    applications = yaml.safe_load(config.read_text())["applications"]
    args: dict[str, Any] = applications[0].get("args") or {}
    return load_settings(args.get("settings"), profile=args.get("profile", DEFAULT_PROFILE))


def served_weights(settings: Settings) -> list[Weights]:
    """What the served models need from the hub. Raises UnknownModel, with the nearest name."""
    analysed_by = settings.analysis.served
    entries = [_found(registry.find, registry.CATALOG.entries, name) for name in settings.models.served]
    separators = [
        _found(separation.find, separation.CATALOG.entries, name) for name in settings.separation.served
    ]
    analysers = [
        _found(analysis.find, analysis.CATALOG.entries, name) for name in [analysed_by] if name is not None
    ]
    require_distinct([entry.name for entry in entries])
    require_distinct([entry.name for entry in separators])
    return _needed(
        [
            *map(of_generator, entries),
            *map(of_separator, separators),
            *map(of_analyser, analysers),
        ]
    )


def named_weights(names: Sequence[str]) -> list[Weights]:
    """Of models of any kind. Raises UnknownModel."""
    kinds: list[tuple[Callable[[str], Any], Callable[[Any], Weights | None]]] = [
        (registry.find, of_generator),
        (separation.find, of_separator),
        (analysis.find, of_analyser),
    ]
    known = [entry.name for entries in (registry, separation, analysis) for entry in entries.CATALOG.entries]
    needed: list[Weights | None] = []
    for name in names:
        needs = [need for kind in kinds for need in _need_of_kind(name, *kind)]
        if not needs:
            raise UnknownModel(unknown_sentence(name, known))
        needed += needs
    return _needed(needed)


def require_distinct(names: Iterable[str]) -> None:
    """Raises UnknownModel for two served models of one name, or of names that differ in punctuation only: requests
    and deployments are named after them, a local folder by its last part."""
    seen: dict[str, str] = {}
    for name in names:
        plain = "".join(letter if letter.isalnum() else "-" for letter in name)
        if plain in seen:
            raise UnknownModel(
                f"two served models cannot be told apart, {seen[plain]!r} and {name!r}: name each model once, and "
                "give local folders different names"
            )
        seen[plain] = name


def unknown_sentence(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    names = ", ".join(known)
    return (
        f"There is no model {name!r}.{guess} Known are {names}, and absolute paths of folders with a model."
    )


def fetch_on_console(models: Sequence[Weights], console: Console) -> None:
    """Fetch what is missing, with a bar. Raises HubError, ModelUnavailable."""
    missing = [weights for weights in models if not is_cached(weights)]
    if not missing:
        return
    console.print(
        f"Downloading the weights of {', '.join(weights.model for weights in missing)}. "
        "Ctrl-C stops it, and the next start continues where it stopped."
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console) as bars:
        bar = bars.add_task("weights", total=None)
        said = ""

        def show(progress: Progress) -> None:
            nonlocal said
            bars.update(bar, completed=progress.done_bytes, total=progress.total_bytes or None)
            if progress.trouble and progress.trouble != said:
                bars.console.print(_sentence(progress.trouble))
            said = progress.trouble

        fetch(missing, show)


def run(work: Callable[[Console], None]) -> int:
    """The exit status of `work`; what goes wrong is one sentence on stderr."""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    try:
        work(console)
    except (EngineError, ValueError) as error:
        console.print(_sentence(str(error)))
        return 1
    except KeyboardInterrupt:
        console.print("Stopped. What is downloaded so far is kept, and the next start continues there.")
        return INTERRUPTED
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m serve_app.fetch", description="Fetch models' weights.")
    parser.add_argument("--config", type=Path, help="a deploy file: fetch what it serves")
    parser.add_argument("names", nargs="*", help="models, e.g. facebook/musicgen-small htdemucs")
    given = parser.parse_args(arguments)

    def work(console: Console) -> None:
        if given.names:
            models = named_weights(given.names)
        else:
            models = served_weights(settings_of(given.config) if given.config else load_settings())
        fetch_on_console(models, console)
        console.print("All weights are there.")

    return run(work)


def _need_of_kind(
    name: str, find: Callable[[str], Any], need_of: Callable[[Any], Weights | None]
) -> list[Weights | None]:
    try:
        return [need_of(find(name))]
    except UnknownModel:
        return []


def _found(find: Callable[[str], Any], entries: Sequence[_Named], name: str) -> Any:
    try:
        return find(name)
    except UnknownModel as error:
        raise UnknownModel(unknown_sentence(name, [entry.name for entry in entries])) from error


def _needed(weights: Iterable[Weights | None]) -> list[Weights]:
    return [needed for needed in weights if needed is not None]


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


if __name__ == "__main__":
    sys.exit(main())
