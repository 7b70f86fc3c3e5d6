"""The two networks that audiocraft fetches by name while it builds a model, taken from a local folder
instead.

A model's folder may hold, besides its two checkpoint files,

- `t5/`: a text encoder in transformers' format, used whatever T5 the config names;
- `demucs/`: `htdemucs.yaml` and its `.th` packages, used for the melody's stems.

Where they are absent the names in the config go to the hub as usual. audiocraft has no parameter for either,
so both are redirected in its modules while one model is built, under a lock, and put back after.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from deployments.engines.music.audiocraft.local_config import SEPARATOR_FOLDER, TEXT_ENCODER_FOLDER
from deployments.engines.separation.demucs.packages import load_separator

_lock = threading.RLock()


@contextmanager
def companions(folder: Path | None) -> Iterator[Callable[[Any], None]]:
    """While open, models are built with the companions in `folder`; yields a function that redirects the text
    encoder of an omegaconf model config in place. audiocraft must have been imported."""
    from audiocraft.modules.conditioners import T5Conditioner
    from demucs import pretrained

    text_encoder = folder / TEXT_ENCODER_FOLDER if folder is not None else None
    if text_encoder is None or not text_encoder.is_dir():
        text_encoder = None

    def redirect(config: Any) -> None:
        if text_encoder is not None:
            config.conditioners.description.t5.name = str(text_encoder)

    with _lock, ExitStack() as stack:
        if text_encoder is not None:
            path, width = str(text_encoder), _width(text_encoder)
            stack.enter_context(replaced(T5Conditioner, "MODELS", [*T5Conditioner.MODELS, path]))
            stack.enter_context(
                replaced(T5Conditioner, "MODELS_DIMS", {**T5Conditioner.MODELS_DIMS, path: width})
            )
        stack.enter_context(replaced(pretrained, "get_model", _separator_loader(folder)))
        yield redirect


@contextmanager
def replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    """`owner.name` is `value` while open. Not for use from two threads at once."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _width(text_encoder: Path) -> int:
    return int(json.loads((text_encoder / "config.json").read_text())["d_model"])


def _separator_loader(folder: Path | None) -> Callable[[str], torch.nn.Module]:
    from demucs.pretrained import get_model

    local = folder / SEPARATOR_FOLDER if folder is not None else None
    if local is not None and local.is_dir():
        return lambda name: load_separator(local, name)
    # "hf://" keeps Demucs from falling back to its old servers, whose packages are pickles.
    return lambda name: get_model(f"hf://{name}")
