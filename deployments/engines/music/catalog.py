"""Which models there are: names and facts that need no torch, and one function that loads an engine.

Operators configure models by name; a request names one of those, never a path. `find` also takes the absolute
path of a local folder with audiocraft's two checkpoint files; its entry is called `local/<folder name>`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from pathlib import Path

from deployments.engines.common.describe import HIDDEN, Described
from deployments.engines.music.audiocraft.local_config import CHECKPOINT_FILES, read_config, read_licence
from deployments.engines.music.meter import Meter
from deployments.engines.music.protocol import Device, Engine, GenerationMode, UnknownModel

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

    engine: EngineKind = EngineKind.SEGUE
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


def entries() -> tuple[ModelEntry, ...]:
    """Every named model, smallest first."""
    return tuple(_catalogue().values())


def find(name: str, engine: EngineKind = EngineKind.SEGUE) -> ModelEntry:
    """The entry of a name, or of a local folder's absolute path. Raises UnknownModel."""
    entry = _catalogue().get(name)
    if entry is None:
        folder = Path(name)
        if not folder.is_absolute() or not all((folder / file).is_file() for file in CHECKPOINT_FILES):
            raise UnknownModel(
                f"unknown model {name!r}; known are {', '.join(_catalogue())}, and absolute paths of folders "
                f"with {' and '.join(CHECKPOINT_FILES)}"
            )
        entry = _local_entry(folder)
    return entry if entry.engine is EngineKind.MOCK else replace(entry, engine=engine)


def load(
    name: str, *, cache_dir: Path, options: EngineOptions | None = None, meter: Meter | None = None
) -> Engine:
    """Load a model; blocks, and downloads what is not there yet. Raises UnknownModel, ModelUnavailable."""
    options = options or EngineOptions()
    entry = find(name, options.engine)
    options = replace(options, threads=options.threads or entry.threads)
    match entry.engine:
        case EngineKind.MOCK:
            from deployments.engines.music.mock import MockEngine

            return MockEngine()
        case EngineKind.AUDIOCRAFT:
            from deployments.engines.music.reference.engine import AudiocraftEngine

            return AudiocraftEngine(
                name,
                cache_dir=cache_dir,
                device=options.device,
                dtype=options.dtype,
                threads=options.threads,
                gpu_memory_fraction=options.gpu_memory_fraction,
            )
        case EngineKind.SEGUE:
            from deployments.engines.music.batching.engine import SegueEngine

            return SegueEngine(name, cache_dir=cache_dir, options=options, meter=meter)


@cache
def _catalogue() -> dict[str, ModelEntry]:
    catalogue = [
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
    ]
    return {entry.name: entry for entry in catalogue}


def _tiny(name: str, description: str, *, melody: bool = False, stereo: bool = False) -> ModelEntry:
    entry = _audiocraft(name, "MIT", "60k", description, melody=melody, stereo=stereo)
    return replace(entry, threads=1)


def _hub(
    size: str, parameters: str, description: str, *, melody: bool = False, stereo: bool = False
) -> ModelEntry:
    name = f"facebook/musicgen-{size}"
    return _audiocraft(name, "CC-BY-NC-4.0", parameters, description, melody=melody, stereo=stereo)


def _local_entry(folder: Path) -> ModelEntry:
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
