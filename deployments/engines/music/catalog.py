"""Which music models there are: names and facts that need no torch (`load` makes an engine of an entry).

Operators configure models by name; a request names one of those, never a path. `find` also takes the absolute
path of a local folder with audiocraft's two checkpoint files; its entry is called `local/<folder name>`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from deployments.engines.common.catalog import Catalog
from deployments.engines.common.describe import HIDDEN, Described
from deployments.engines.common.device import Device
from deployments.engines.common.licence import read_licence
from deployments.engines.music.audiocraft.local_config import CHECKPOINT_FILES, read_config
from deployments.engines.music.protocol import GenerationMode
from deployments.engines.starter import weights as starter

_RATE_HZ = 32_000
_BASIC_MODES = (GenerationMode.TEXT, GenerationMode.CONTINUE, GenerationMode.COMPOSE)
_MELODY_MODES = (*_BASIC_MODES, GenerationMode.MELODY)


class EngineKind(StrEnum):
    """`segue` batches takes continuously and streams them; `audiocraft` is the library's own `generate`, one
    take at a time."""

    SEGUE = "segue"
    AUDIOCRAFT = "audiocraft"
    MOCK = "mock"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a model runs. The second half is for the engine `segue`: `takes` step together and `waiting` more
    may wait, `kv_bytes` is for all their keys and values (None: what the memory allows), and beyond the
    model's window each further window starts `extend_stride_s` later.

    `dtype` is `auto`, `float32`, `float16` (GPU), `bfloat16`, or `int8` (CPU, engine `segue`).
    """

    device: Device = Device.AUTO
    dtype: str = "auto"
    threads: int | None = None
    gpu_memory_fraction: float | None = None
    takes: int = 8
    waiting: int = 16
    kv_bytes: int | None = None
    extend_stride_s: float = 18.0


@dataclass(frozen=True, slots=True)
class ModelEntry(Described):
    """A model as it is before it is loaded. `parameters` is a hint at its size ("300M"); `folder` is where a
    local checkpoint lies, None for the others, and never shown."""

    name: str
    engine: EngineKind
    licence: str
    sample_rate_hz: int
    channels: int
    modes: tuple[GenerationMode, ...]
    description: str
    parameters: str
    folder: Path | None = field(default=None, metadata=HIDDEN)
    threads: int | None = field(default=None, metadata=HIDDEN)
    """Torch threads that measured best; None for all. A tiny model is slower on two than on one."""


def find(name: str, engine: EngineKind = EngineKind.SEGUE) -> ModelEntry:
    """The entry of a name, or of a local folder's absolute path. Raises UnknownModel, ModelUnavailable."""
    entry = CATALOG.find(name)
    return entry if entry.engine is EngineKind.MOCK else replace(entry, engine=engine)


def _entries() -> tuple[ModelEntry, ...]:
    return (
        ModelEntry(
            name="mock",
            engine=EngineKind.MOCK,
            licence="MIT",
            sample_rate_hz=_RATE_HZ,
            channels=1,
            modes=_MELODY_MODES,
            description="No model: plays the source's end again, at once",
            parameters="0",
        ),
        _tiny("tiny", "Pseudo-random weights: noise, from the real model code"),
        _tiny("tiny-melody", "As tiny, with melody conditioning", melody=True),
        _tiny("tiny-stereo", "As tiny, in stereo", stereo=True),
        *_starters(),
        _hub("small", "300M", "Text to music"),
        _hub("medium", "1.5B", "Text to music"),
        _hub("large", "3.3B", "Text to music"),
        _hub("melody", "1.5B", "Text and melody to music", melody=True),
        _hub("melody-large", "3.3B", "Text and melody to music", melody=True),
        _hub("stereo-small", "300M", "Text to stereo music", stereo=True),
        _hub("stereo-medium", "1.5B", "Text to stereo music", stereo=True),
        _hub("stereo-large", "3.3B", "Text to stereo music", stereo=True),
        _hub("stereo-melody", "1.5B", "Text and melody to stereo music", melody=True, stereo=True),
        _hub("stereo-melody-large", "3.3B", "Text and melody to stereo music", melody=True, stereo=True),
    )


def _tiny(name: str, description: str, *, melody: bool = False, stereo: bool = False) -> ModelEntry:
    entry = _audiocraft(name, "MIT", "60k", description, melody=melody, stereo=stereo)
    return replace(entry, threads=1)


def _starters() -> list[ModelEntry]:
    """The starter, where the package has its weights."""
    if not starter.has_generator():
        return []
    entry = _audiocraft(
        starter.NAME,
        "MIT",
        "9M",
        "Small model of Segue's own: text and melody to music",
        melody=True,
        sample_rate_hz=16_000,
        stereo=False,
    )
    return [entry]


def _hub(
    size: str, parameters: str, description: str, *, melody: bool = False, stereo: bool = False
) -> ModelEntry:
    name = f"facebook/musicgen-{size}"
    return _audiocraft(name, "CC-BY-NC-4.0", parameters, description, melody=melody, stereo=stereo)


def _local_entry(folder: Path) -> ModelEntry | None:
    if not all((folder / file).is_file() for file in CHECKPOINT_FILES):
        return None
    config = read_config(folder)
    return _audiocraft(
        f"local/{folder.name}",
        read_licence(folder),
        "unknown",
        "Local checkpoint",
        melody=config.melody,
        stereo=config.stereo,
        sample_rate_hz=config.sample_rate_hz,
        folder=folder,
    )


def _audiocraft(
    name: str,
    licence: str,
    parameters: str,
    description: str,
    *,
    melody: bool,
    stereo: bool,
    sample_rate_hz: int = _RATE_HZ,
    folder: Path | None = None,
) -> ModelEntry:
    return ModelEntry(
        name=name,
        engine=EngineKind.SEGUE,
        licence=licence,
        sample_rate_hz=sample_rate_hz,
        channels=2 if stereo else 1,
        modes=_MELODY_MODES if melody else _BASIC_MODES,
        description=description,
        parameters=parameters,
        folder=folder,
    )


CATALOG = Catalog("model", _entries(), _local_entry, " and ".join(CHECKPOINT_FILES))
