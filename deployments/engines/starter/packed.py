"""The starter's weights as the package holds them: float16 in safetensors, with what belongs to them as strings
beside the tensors.

- `codec.safetensors`, `lm.safetensors`: `config`, the hydra config as YAML;
- `text.safetensors`: the text encoder's other files by name;
- `separator.safetensors`: `arguments`, HTDemucs's own as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

LICENCE = "MIT\n\nTrained by Segue on music of its own: see docs/starter.md.\n"


def read_packed(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """(float32 tensors, strings)."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        strings: dict[str, str] = file.metadata() or {}
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()
    }, strings


def write_packed(path: Path, state: Mapping[str, torch.Tensor], strings: Mapping[str, str]) -> None:
    """float16 where a tensor is float."""
    from safetensors.torch import save_file

    halves: dict[str, Any] = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous().clone()
        for name, tensor in state.items()
    }
    save_file(halves, path, metadata=dict(strings))
