"""What a MusicGen needs from the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deployments.engines.common.hub.needs import WEIGHT_FILES, Read, Repository, Weights
from deployments.engines.music.audiocraft.local_config import (
    CHECKPOINT_FILES,
    read_companions,
    read_pretrained,
)
from deployments.engines.music.catalog import ModelEntry
from deployments.engines.music.protocol import GenerationMode
from deployments.engines.separation.needs import demucs_repositories

TEXT_ENCODER = "t5-base"
"""What all published MusicGens are conditioned on."""

POINTER_BYTES = 2**20
"""A `compression_state_dict.bin` below this holds no network but the name of another repository."""

_MELODY_SEPARATOR = "htdemucs"


def of_generator(entry: ModelEntry) -> Weights | None:
    """None where nothing is from the hub."""
    if entry.folder is not None:
        folder = entry.folder
        return Weights(entry.name, lambda read: _of_folder(folder, read))
    if not entry.name.startswith("facebook/"):
        return None
    return Weights(entry.name, lambda read: _of_musicgen(entry, read))


def _of_musicgen(entry: ModelEntry, read: Read) -> Iterator[Repository]:
    weights, codec = CHECKPOINT_FILES
    yield Repository(entry.name, ((codec,), (weights,)))
    yield _text_encoder(TEXT_ENCODER)
    if GenerationMode.MELODY in entry.modes:
        yield from demucs_repositories(_MELODY_SEPARATOR, read)
    yield from _codec(read(entry.name, codec, POINTER_BYTES))


def _of_folder(folder: Path, read: Read) -> Iterator[Repository]:
    """What a local checkpoint names but does not bring along."""
    companions = read_companions(folder)
    if companions.text_encoder is not None:
        yield _text_encoder(companions.text_encoder)
    if companions.separator:
        yield from demucs_repositories(_MELODY_SEPARATOR, read)
    codec = folder / CHECKPOINT_FILES[1]
    yield from _codec(codec if codec.stat().st_size < POINTER_BYTES else None)


def _text_encoder(name: str) -> Repository:
    return Repository(
        name,
        (("config.json",), ("tokenizer.json", "spiece.model"), WEIGHT_FILES),
        ("tokenizer.json", "spiece.model", "tokenizer_config.json", "special_tokens_map.json"),
    )


def _codec(pointer: Path | None) -> Iterator[Repository]:
    name = read_pretrained(pointer) if pointer is not None else None
    if name is not None:
        yield Repository(name, (("config.json",), WEIGHT_FILES))
