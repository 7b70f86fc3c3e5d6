"""What a local checkpoint folder says about itself, without torch and without unpickling anything."""

from __future__ import annotations

import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from deployments.engines.common.errors import ModelUnavailable

CHECKPOINT_FILES = ("state_dict.bin", "compression_state_dict.bin")


@dataclass(frozen=True, slots=True)
class LocalConfig:
    sample_rate_hz: int
    stereo: bool
    melody: bool


def read_config(folder: Path) -> LocalConfig:
    """Read the model's config out of `state_dict.bin`.

    The file is a zip whose `data.pkl` holds the config as one string of YAML; the pickle's opcodes are
    listed, not run. Raises ModelUnavailable.
    """
    path = folder / CHECKPOINT_FILES[0]
    try:
        with zipfile.ZipFile(path) as archive:
            pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            strings = [
                str(argument)
                for opcode, argument, _ in pickletools.genops(archive.read(pickled))
                if "UNICODE" in opcode.name
            ]
        config = yaml.safe_load(strings[strings.index("xp.cfg") + 1])
        return LocalConfig(
            sample_rate_hz=int(config["sample_rate"]),
            stereo=bool(config.get("interleave_stereo_codebooks", {}).get("use", False)),
            melody="self_wav" in config["conditioners"],
        )
    except (zipfile.BadZipFile, StopIteration, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        raise ModelUnavailable(
            f"{path.name} of {folder.name} is no audiocraft checkpoint: {error!r}"
        ) from error
