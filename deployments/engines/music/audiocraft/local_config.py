"""What a local checkpoint folder says about itself, without torch and without unpickling anything."""

from __future__ import annotations

import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deployments.engines.common.errors import ModelUnavailable

CHECKPOINT_FILES = ("state_dict.bin", "compression_state_dict.bin")
TEXT_ENCODER_FOLDER = "t5"
SEPARATOR_FOLDER = "demucs"


@dataclass(frozen=True, slots=True)
class LocalConfig:
    sample_rate_hz: int
    stereo: bool
    melody: bool


@dataclass(frozen=True, slots=True)
class Companions:
    """What a local checkpoint takes from the hub: the name of its text encoder, None if it brings one along, and
    whether it needs Demucs for the melody."""

    text_encoder: str | None
    separator: bool


def read_config(folder: Path) -> LocalConfig:
    """Read the model's config out of `state_dict.bin`.

    The file is a zip whose `data.pkl` holds the config as one string of YAML; the pickle's opcodes are
    listed, not run. Raises ModelUnavailable.
    """
    path = folder / CHECKPOINT_FILES[0]
    try:
        config = _config_of(path)
        return LocalConfig(
            sample_rate_hz=int(config["sample_rate"]),
            stereo=bool(config.get("interleave_stereo_codebooks", {}).get("use", False)),
            melody="self_wav" in config["conditioners"],
        )
    except _UNREADABLE as error:
        raise _no_checkpoint(path, error) from error


def read_companions(folder: Path) -> Companions:
    """Read which networks a local checkpoint names but does not bring along. Raises ModelUnavailable."""
    path = folder / CHECKPOINT_FILES[0]
    try:
        conditioners = _config_of(path)["conditioners"]
        named = str(conditioners["description"]["t5"]["name"])
    except _UNREADABLE as error:
        raise _no_checkpoint(path, error) from error
    return Companions(
        None if (folder / TEXT_ENCODER_FOLDER).is_dir() else named,
        "self_wav" in conditioners and not (folder / SEPARATOR_FOLDER).is_dir(),
    )


def read_pretrained(path: Path) -> str | None:
    """The repository that a codec's file names in place of weights, if it does (`{"pretrained": NAME}`)."""
    try:
        strings = _strings_of(path)
        return strings[strings.index("pretrained") + 1] if "pretrained" in strings else None
    except _UNREADABLE as error:
        raise _no_checkpoint(path, error) from error


def _config_of(path: Path) -> dict[str, Any]:
    strings = _strings_of(path)
    config: dict[str, Any] = yaml.safe_load(strings[strings.index("xp.cfg") + 1])
    return config


def _strings_of(path: Path) -> list[str]:
    """The texts in a file of torch's, in their order. Nothing of it is run."""
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        return [
            str(argument)
            for opcode, argument, _ in pickletools.genops(archive.read(pickled))
            if "UNICODE" in opcode.name
        ]


_UNREADABLE = (zipfile.BadZipFile, StopIteration, ValueError, LookupError, TypeError, yaml.YAMLError)


def _no_checkpoint(path: Path, error: Exception) -> ModelUnavailable:
    return ModelUnavailable(f"{path.name} of {path.parent.name} is no audiocraft checkpoint: {error!r}")
