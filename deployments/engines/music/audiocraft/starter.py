"""The starter's generator as the files that audiocraft loads, made once from what the package holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from deployments.engines.common.built_folder import made_folder
from deployments.engines.music.audiocraft.importing import import_audiocraft
from deployments.engines.music.audiocraft.local_config import SEPARATOR_FOLDER, TEXT_ENCODER_FOLDER
from deployments.engines.separation.demucs.starter import write_starter_separator
from deployments.engines.starter.packed import LICENCE, read_packed
from deployments.engines.starter.weights import FOLDER, GENERATOR_FILES, NAME, SEPARATOR_FILE, digest


def ensure_starter(cache_dir: Path, packed: Path = FOLDER) -> Path:
    """The generator's folder inside `cache_dir`, made if it is not there (see `made_folder`)."""
    name = f"{NAME}-{digest((*GENERATOR_FILES, SEPARATOR_FILE), packed)}"
    return made_folder(cache_dir, name, lambda folder: write_starter(folder, packed))


def write_starter(folder: Path, packed: Path = FOLDER) -> None:
    """All files of the generator into an existing folder, as `audiocraft.utils.export` writes them."""
    for name, file in (("codec", "compression_state_dict.bin"), ("lm", "state_dict.bin")):
        state, strings = read_packed(packed / f"{name}.safetensors")
        write_export(folder / file, state, strings["config"])
    text = folder / TEXT_ENCODER_FOLDER
    text.mkdir()
    state, strings = read_packed(packed / "text.safetensors")
    for name, content in strings.items():
        (text / name).write_text(content, encoding="utf-8")
    from safetensors.torch import save_file

    save_file(state, text / "model.safetensors", metadata={"format": "pt"})
    separator = folder / SEPARATOR_FOLDER
    separator.mkdir()
    write_starter_separator(separator, "htdemucs", packed)
    (folder / "LICENSE").write_text(LICENCE)


def write_export(path: Path, state: Mapping[str, torch.Tensor], config: str) -> None:
    """One file in the format of `audiocraft.utils.export`; `config` is YAML."""
    import_audiocraft()
    import audiocraft

    package = {
        "best_state": dict(state),
        "xp.cfg": config,
        "version": audiocraft.__version__,
        "exported": True,
    }
    torch.save(package, path)
