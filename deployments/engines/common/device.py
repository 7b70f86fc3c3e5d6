"""Where a model runs."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from deployments.engines.common.errors import ModelUnavailable

if TYPE_CHECKING:
    import torch


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def choose_device(device: Device) -> torch.device:
    """`auto` is the GPU where there is one. Raises ModelUnavailable."""
    import torch

    has_gpu = torch.cuda.is_available()
    if device is Device.CUDA and not has_gpu:
        raise ModelUnavailable("device cuda was asked for, but torch sees no GPU")
    return torch.device("cuda" if has_gpu and device is not Device.CPU else "cpu")
