"""One network of a model on its device: float32 in, float32 out, whatever it computes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Network:
    """A Demucs network that belongs to this object from now on."""

    def __init__(self, network: Any, device: torch.device, dtype: torch.dtype) -> None:
        self._network = network.to(device)
        self._device = device
        self._dtype = dtype

    @torch.inference_mode()
    def __call__(self, mix: Tensor, sources: Sequence[int]) -> Tensor:
        """float32 [batch, channels, samples] -> float32 [batch, sources, channels, samples], both on the CPU."""
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not torch.float32):
            estimates = self._network(mix.to(self._device))
        wanted: Tensor = estimates[:, list(sources)].float().cpu()
        return wanted
