"""Demucs's packages from a local folder (see `folder`), read without running what they say.

`.th` files are pickles: they are opened with `weights_only`, so they can hold tensors and name Demucs's own
networks, nothing else. `.safetensors` files name the class of their network in their metadata, which must be
one of the same.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import yaml

from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.separation.folder import PACKAGE_SUFFIXES


def load_separator(folder: Path, name: str) -> torch.nn.Module:
    """The bag `name` of the folder as a `demucs.apply.BagOfModels`, in evaluation mode; a bag of one where
    `name` is a package's signature.

    Raises ModelUnavailable, and whatever a damaged package makes Demucs raise.
    """
    from demucs.apply import BagOfModels

    packages = {
        file.stem.rsplit("-", 1)[0] if file.suffix == ".th" else file.stem: file
        for file in sorted(folder.iterdir())
        if file.suffix in PACKAGE_SUFFIXES
    }
    listed = folder / f"{name}.yaml"
    bag = yaml.safe_load(listed.read_text()) if listed.is_file() else {"models": [name]}
    for signature in bag["models"]:
        if signature not in packages:
            raise ModelUnavailable(f"{folder.name} has no package {signature!r}")
    networks = [_load_network(packages[signature]) for signature in bag["models"]]
    model: torch.nn.Module = BagOfModels(networks, bag.get("weights"), bag.get("segment"))
    return model.eval()


def _load_network(path: Path) -> Any:
    return _load_safetensors(path) if path.suffix == ".safetensors" else _load_pickle(path)


def _network_classes() -> list[Any]:
    from demucs.demucs import Demucs
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs

    return [Demucs, HDemucs, HTDemucs]


def _load_pickle(path: Path) -> Any:
    from demucs.repo import check_checksum
    from demucs.states import load_model

    if "-" in path.stem:
        check_checksum(path, path.stem.rsplit("-", 1)[1])
    with torch.serialization.safe_globals([*_network_classes(), Fraction]):
        return load_model(torch.load(path, map_location="cpu", weights_only=True))


def _load_safetensors(path: Path) -> Any:
    from demucs.hf import load_safetensors_model
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata()
    known = {f"{each.__module__}.{each.__qualname__}" for each in _network_classes()}
    if metadata["klass"] not in known or "_class" in json.dumps(metadata.get("structure", "")):
        raise ModelUnavailable(f"{path.name} is none of {', '.join(sorted(known))}, or is quantized")
    return load_safetensors_model(path)
