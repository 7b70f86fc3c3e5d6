"""Which separators there are: names and facts that need no torch (`load` makes an engine of an entry).

Operators configure models by name; a request names one of those, never a path. `find` also takes the absolute
path of a local folder in Demucs's format (see `packages`); its entry is called `local/<folder name>`. Adding a
model is adding an entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from deployments.engines.common.catalog import Catalog
from deployments.engines.common.describe import HIDDEN, Described
from deployments.engines.common.device import Device
from deployments.engines.common.licence import read_licence
from deployments.engines.separation.folder import is_folder_of_packages
from deployments.engines.starter import weights as starter

RESEARCH_ONLY = "research only (weights without a licence; Demucs's code is MIT)"
"""Demucs's author on its weights: not covered by the code's MIT licence, provided for scientific purposes only
(https://github.com/facebookresearch/demucs/issues/327, /508)."""

_RATE_HZ = 44_100
_FOUR = ("drums", "bass", "other", "vocals")
_SIX = (*_FOUR, "guitar", "piano")


class SeparatorKind(StrEnum):
    DEMUCS = "demucs"
    MOCK = "mock"


class Origin(StrEnum):
    """Where a model's weights come from: Demucs's repositories on Hugging Face, made here, a local folder."""

    HUB = "hub"
    MADE = "made"
    FOLDER = "folder"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class SeparatorOptions:
    """How a model runs.

    `dtype` is `auto` (float32), `float32`, `bfloat16`, or `float16` (GPU). On a CPU `threads` are shared out
    among `lanes`, each of which works on a segment of its own. On a GPU up to `batch` segments of one length go
    through a network together. More than `waiting` segments in the queue are refused as EngineBusy.
    """

    device: Device = Device.AUTO
    dtype: str = "auto"
    threads: int | None = None
    lanes: int | None = None
    gpu_memory_fraction: float | None = None
    batch: int = 4
    waiting: int = 64


@dataclass(frozen=True, slots=True)
class SeparatorEntry(Described):
    """A model as it is before it is loaded. `networks` is how many it has; `sources` is empty and `networks` 0
    where only loading tells. `folder` is where a local model lies, and never shown."""

    name: str
    engine: SeparatorKind
    origin: Origin = field(metadata=HIDDEN)
    licence: str
    sample_rate_hz: int
    channels: int
    sources: tuple[str, ...]
    networks: int
    description: str
    folder: Path | None = field(default=None, metadata=HIDDEN)
    threads: int | None = field(default=None, metadata=HIDDEN)
    """Torch threads that measured best; None for all. A tiny model is slower on two than on one."""


def _entries() -> tuple[SeparatorEntry, ...]:
    return (
        SeparatorEntry(
            name="mock",
            engine=SeparatorKind.MOCK,
            origin=Origin.NONE,
            licence="MIT",
            sample_rate_hz=_RATE_HZ,
            channels=2,
            sources=_FOUR,
            networks=0,
            description="No model: every source gets a fixed share of the mixture",
        ),
        _tiny("tiny", "Pseudo-random weights: noise, from the real HTDemucs code"),
        _tiny("tiny-ft", "As tiny: a bag with one HTDemucs for each source", networks=4),
        _tiny("tiny-mixed", "As tiny: a weighted bag of all three generations of Demucs", networks=3),
        *_starters(),
        _hub("htdemucs", "Hybrid Transformer Demucs (v4)"),
        _hub("htdemucs_ft", "htdemucs fine-tuned for each source: better, four times the work", networks=4),
        _hub("htdemucs_6s", "htdemucs with guitar and piano, of which the piano is poor", sources=_SIX),
        _hub("hdemucs_mmi", "Hybrid Demucs (v3), retrained on htdemucs's data"),
        _hub("mdx", "Demucs v3's bag for the MDX challenge, trained on MusDB HQ only", networks=4),
        _hub("mdx_extra", "As mdx, trained with extra data", networks=4),
        _hub("mdx_q", "mdx, quantized: needs the package diffq", networks=4),
        _hub("mdx_extra_q", "mdx_extra, quantized: needs the package diffq", networks=4),
    )


def _tiny(name: str, description: str, *, networks: int = 1) -> SeparatorEntry:
    return _entry(name, description, licence="MIT", networks=networks, origin=Origin.MADE, threads=1)


def _starters() -> list[SeparatorEntry]:
    """The starter, where the package has its weights."""
    if not starter.has_separator():
        return []
    description = "Small HTDemucs of Segue's own; vocals are choirs and voices of a synthesiser"
    return [_entry(starter.NAME, description, licence="MIT", networks=1, origin=Origin.MADE)]


def _hub(
    name: str, description: str, *, sources: tuple[str, ...] = _FOUR, networks: int = 1
) -> SeparatorEntry:
    return _entry(
        name, description, licence=RESEARCH_ONLY, sources=sources, networks=networks, origin=Origin.HUB
    )


def _entry(
    name: str,
    description: str,
    *,
    licence: str,
    networks: int,
    origin: Origin,
    sources: tuple[str, ...] = _FOUR,
    folder: Path | None = None,
    threads: int | None = None,
) -> SeparatorEntry:
    return SeparatorEntry(
        name=name,
        engine=SeparatorKind.DEMUCS,
        origin=origin,
        licence=licence,
        sample_rate_hz=_RATE_HZ,
        channels=2,
        sources=sources,
        networks=networks,
        description=description,
        folder=folder,
        threads=threads,
    )


def _local_entry(folder: Path) -> SeparatorEntry | None:
    if not is_folder_of_packages(folder):
        return None
    return _entry(
        f"local/{folder.name}",
        "Local model",
        licence=read_licence(folder),
        sources=(),
        networks=0,
        origin=Origin.FOLDER,
        folder=folder,
    )


CATALOG = Catalog("separator", _entries(), _local_entry, "Demucs's packages")

find = CATALOG.find
