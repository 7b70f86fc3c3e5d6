"""Which analysers there are: names and facts that need no torch (`load` makes an engine of an entry).

Operators configure models by name; a request names none. `find` also takes the absolute path of a local
folder with a CLAP model in transformers' format; its entry is called `local/<folder name>`. Adding a model is
adding an entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from deployments.engines.common.catalog import Catalog
from deployments.engines.common.describe import HIDDEN, Described
from deployments.engines.common.device import Device
from deployments.engines.common.licence import read_licence

CLAP_FILES = ("config.json", "preprocessor_config.json")
"""What a folder with a CLAP model has at least."""


class AnalyserKind(StrEnum):
    """Who says what a clip feels like: Segue's own `adapter` over signal features, CLAP, or nobody."""

    SIGNAL = "signal"
    CLAP = "clap"
    MOCK = "mock"


class MelodyModel(StrEnum):
    """Who follows the melody. CREPE's full network is 20 times the work of its tiny one."""

    CREPE_TINY = "crepe-tiny"
    CREPE_FULL = "crepe-full"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class AnalyserOptions:
    """How an analyser runs. `melody` names an entry of `MelodyModel`; with `none` no analysis has a melody.

    `lanes` clips are worked on at once (None: two, on one processor one), and `threads` torch threads are
    shared out among them. `gpu_memory_fraction` caps the process's share of the GPU's memory. More than
    `waiting` clips in the queue are refused as EngineBusy.
    """

    device: Device = Device.AUTO
    melody: str = MelodyModel.CREPE_TINY
    threads: int | None = None
    lanes: int | None = None
    gpu_memory_fraction: float | None = None
    waiting: int = 16


@dataclass(frozen=True, slots=True)
class AnalyserEntry(Described):
    """An analyser as it is before it is loaded. `weights` is CLAP's name on the hub, None where it is not
    from there. `folder` is where a local model lies, and never shown."""

    name: str
    engine: AnalyserKind
    licence: str
    description: str
    weights: str | None = field(default=None, metadata=HIDDEN)
    folder: Path | None = field(default=None, metadata=HIDDEN)


def _entries() -> tuple[AnalyserEntry, ...]:
    return (
        AnalyserEntry("mock", AnalyserKind.MOCK, "MIT", "No listening: fixed answers for every clip"),
        AnalyserEntry(
            "signal",
            AnalyserKind.SIGNAL,
            "MIT",
            "Signal analysis; mood and style from Segue's own small adapter",
        ),
        AnalyserEntry(
            "tiny-clap",
            AnalyserKind.CLAP,
            "MIT",
            "As signal, but mood and style from CLAP's real code with pseudo-random weights: they mean nothing",
        ),
        _clap("laion/clap-htsat-unfused", "CLAP, trained on general audio"),
        _clap("laion/larger_clap_music", "CLAP, larger, trained on music"),
        _clap("laion/larger_clap_music_and_speech", "CLAP, larger, trained on music and speech"),
    )


def _clap(name: str, description: str) -> AnalyserEntry:
    return AnalyserEntry(
        name,
        AnalyserKind.CLAP,
        "Apache-2.0",
        f"Signal analysis; mood and style from {description}",
        weights=name,
    )


def _local_entry(folder: Path) -> AnalyserEntry | None:
    if not all((folder / file).is_file() for file in CLAP_FILES):
        return None
    return AnalyserEntry(
        name=f"local/{folder.name}",
        engine=AnalyserKind.CLAP,
        licence=read_licence(folder),
        description="Local CLAP model",
        folder=folder,
    )


CATALOG = Catalog("analyser", _entries(), _local_entry, "a CLAP model")

find = CATALOG.find
