"""In which device and number format a language model works."""

from __future__ import annotations

from typing import Any

import torch

from deployments.engines.common.errors import ModelUnavailable

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto` is audiocraft's own choice: float16 on a GPU, float32 elsewhere. Raises ModelUnavailable."""
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    if dtype not in _DTYPES:
        raise ModelUnavailable(f"dtype must be auto, {' or '.join(_DTYPES)}, not {dtype!r}")
    if dtype == "float16" and device.type == "cpu":
        raise ModelUnavailable("dtype float16 needs a GPU; use float32 or bfloat16 on a CPU")
    return _DTYPES[dtype]


def convert(lm: Any, dtype: torch.dtype) -> None:
    """Bring a loaded language model to `dtype`, in place.

    audiocraft computes positions in the weights' format; bfloat16 cannot tell steps apart beyond 256, so in
    bfloat16 only the matrices that are multiplied with change, and autocast does the rest.
    """
    if dtype is torch.float16:
        return  # as audiocraft loads it on a GPU
    lm.float()
    if dtype is torch.bfloat16:
        for module in (*lm.transformer.modules(), *lm.linears):
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.dim() == 2 and name in ("weight", "in_proj_weight"):
                    parameter.data = parameter.data.to(dtype)


def autocast(dtype: torch.dtype, device: torch.device) -> Any:
    """The autocast that belongs to a converted model, as audiocraft's facade wants it."""
    from audiocraft.utils.autocast import TorchAutocast

    if dtype is torch.float32:
        return TorchAutocast(enabled=False)
    return TorchAutocast(enabled=True, device_type=device.type, dtype=dtype)
