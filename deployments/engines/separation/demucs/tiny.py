"""Tiny separators: real networks of Demucs's, small enough for any CPU, made in seconds without a download.

`tiny` is one HTDemucs, `tiny-ft` a bag with one for each source as htdemucs_ft is, and `tiny-mixed` a weighted
bag of all three generations (HTDemucs, HDemucs, Demucs), whose segments differ in length. Their weights are
pseudo-random, the same anywhere, so their stems are noise. Every model is a folder of packages (see `folder`).
"""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch

from deployments.engines.common.built_folder import made_folder
from deployments.engines.common.pseudo_random import network_state

TINY_MODELS = ("tiny", "tiny-ft", "tiny-mixed")

# Part of the folder's name: count it up with every change to the weights or the files.
VERSION = 1

SOURCES = ("drums", "bass", "other", "vocals")
_FIRST_SIGNATURE = "0f1e2d3c"


def ensure_tiny_separator(name: str, cache_dir: Path) -> Path:
    """The model's folder inside `cache_dir`, made if it is not there (see `made_folder`)."""
    return made_folder(
        cache_dir, f"separator-{name}-v{VERSION}", lambda folder: write_tiny_separator(name, folder)
    )


def write_tiny_separator(name: str, folder: Path) -> None:
    """Write all files of a tiny model into an existing folder; its bag is called `name`."""
    from demucs.demucs import Demucs
    from demucs.hdemucs import HDemucs

    if name not in TINY_MODELS:
        raise ValueError(f"{name} is none of {', '.join(TINY_MODELS)}")
    # Networks are built for the names and shapes of their tensors; what they drew to start with is thrown away.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm.* is deprecated", category=FutureWarning)
        if name == "tiny":
            write_htdemucs(folder, name)
        elif name == "tiny-ft":
            signatures = [
                _write_package(folder, f"f0000000{index}"[-8:], _htdemucs(), f"separator-ft.{index}")
                for index in range(len(SOURCES))
            ]
            rows = ", ".join(str([float(row == index) for index in range(4)]) for row in range(4))
            _write_bag(folder, name, signatures, f"weights: [{rows}]\n")
        else:
            hybrid = HDemucs(sources=list(SOURCES), channels=8, segment=2)
            in_time = Demucs(sources=list(SOURCES), channels=4, segment=2.5)
            signatures = [
                _write_package(folder, f"a0000000{index}"[-8:], network, f"separator-mixed.{index}")
                for index, network in enumerate((_htdemucs(), hybrid, in_time))
            ]
            _write_bag(
                folder,
                name,
                signatures,
                "weights: [[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.5], [1.0, 0.0, 1.0, 1.0]]\n",
            )


def write_htdemucs(folder: Path, name: str) -> None:
    """A bag `name` of one HTDemucs with the four usual sources, as files that Demucs finds, too."""
    _write_bag(folder, name, [_write_package(folder, _FIRST_SIGNATURE, _htdemucs(), "demucs")])


def _htdemucs() -> Any:
    from demucs.htdemucs import HTDemucs

    return HTDemucs(
        sources=list(SOURCES),
        channels=8,
        growth=2,
        nfft=4096,
        depth=4,
        t_layers=1,
        t_heads=2,
        bottom_channels=32,
        t_hidden_scale=1.0,
        segment=3,
        use_train_segment=True,
    )


def _write_package(folder: Path, signature: str, network: Any, prefix: str) -> str:
    """`prefix` names the network, and so its weights; gives the signature back."""
    args, kwargs = network._init_args_kwargs
    state = network_state(prefix, network.state_dict())
    package = {
        "klass": type(network),
        "args": args,
        "kwargs": kwargs,
        "state": {name: tensor.half() for name, tensor in state.items()},
        "training_args": {},
    }
    buffer = io.BytesIO()
    torch.save(package, buffer)
    content = buffer.getvalue()
    checksum = hashlib.sha256(content).hexdigest()[:8]
    (folder / f"{signature}-{checksum}.th").write_bytes(content)
    return signature


def _write_bag(folder: Path, name: str, signatures: list[str], more: str = "") -> None:
    (folder / f"{name}.yaml").write_text(f"models: {signatures}\n{more}")
