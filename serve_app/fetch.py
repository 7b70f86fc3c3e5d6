"""Models' weights fetched before anything serves: `python -m serve_app.fetch [--config CONFIG.yaml] [NAME ...]`,
for images and for volumes of a cluster; `make run` does the same in `preflight`.

Without names, what the deploy file and the environment serve. Ends with 1 and one sentence where it cannot.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from configs.environment import DEFAULT_PROFILE, load_settings
from configs.settings import Settings
from deployments.engines.common.catalog import unknown_model
from deployments.engines.common.errors import EngineError, UnknownModel
from deployments.engines.common.hub.fetch import Progress, fetch, is_cached
from deployments.engines.common.hub.needs import Weights
from deployments.engines.families import FAMILIES, Family, served_models

INTERRUPTED = 130


def settings_of(config: Path) -> Settings:
    """The settings of a deploy file's application. Raises ValueError."""
    applications = yaml.safe_load(config.read_text())["applications"]
    args: dict[str, Any] = applications[0].get("args") or {}
    return load_settings(args.get("settings"), profile=args.get("profile", DEFAULT_PROFILE))


def served_weights(settings: Settings) -> list[Weights]:
    """What the served models need from the hub. Raises UnknownModel, with the nearest name."""
    return _needed(model.weights() for model in served_models(settings))


def named_weights(names: Sequence[str]) -> list[Weights]:
    """Of models of any family. Raises UnknownModel."""
    needed: list[Weights | None] = []
    for name in names:
        needs = [need for family in FAMILIES for need in _needs_in(family, name)]
        if not needs:
            known = [entry.name for family in FAMILIES for entry in family.catalog.entries]
            raise unknown_model("model", name, known, "a model")
        needed += needs
    return _needed(needed)


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


def _needs_in(family: Family[Any, Any, Any], name: str) -> list[Weights | None]:
    """Nothing where the family has no such model."""
    try:
        return [family.needs(family.catalog.find(name))]
    except UnknownModel:
        return []


def _needed(weights: Iterable[Weights | None]) -> list[Weights]:
    return [needed for needed in weights if needed is not None]


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


if __name__ == "__main__":
    sys.exit(main())
