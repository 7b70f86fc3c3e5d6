"""The starter's separator as the files that Demucs loads, made once from what the package holds."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from pathlib import Path

import torch

from deployments.engines.common.built_folder import made_folder
from deployments.engines.starter.packed import LICENCE, read_packed
from deployments.engines.starter.weights import FOLDER, NAME, SEPARATOR_FILE, digest

_SIGNATURE = "5e90e001"


def ensure_starter_separator(cache_dir: Path, packed: Path = FOLDER) -> Path:
    """The separator's folder inside `cache_dir`; its bag is called `starter`."""
    name = f"separator-{NAME}-{digest((SEPARATOR_FILE,), packed)}"
    return made_folder(cache_dir, name, lambda folder: write_starter_separator(folder, NAME, packed))


def write_starter_separator(folder: Path, name: str, packed: Path = FOLDER) -> None:
    """A bag `name` of one HTDemucs, as files that Demucs finds, too."""
    from demucs.htdemucs import HTDemucs

    state, strings = read_packed(packed / SEPARATOR_FILE)
    arguments = json.loads(strings["arguments"])
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm.* is deprecated", category=FutureWarning)
        network = HTDemucs(**arguments)
    args, kwargs = network._init_args_kwargs
    package = {"klass": HTDemucs, "args": args, "kwargs": kwargs, "state": state, "training_args": {}}
    buffer = io.BytesIO()
    torch.save(package, buffer)
    checksum = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    (folder / f"{_SIGNATURE}-{checksum}.th").write_bytes(buffer.getvalue())
    (folder / f"{name}.yaml").write_text(f"models: ['{_SIGNATURE}']\n")
    (folder / "LICENSE").write_text(LICENCE)
