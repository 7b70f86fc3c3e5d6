"""One network of a model on its device: float32 in, float32 out, whatever it computes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from deployments.engines.separation.demucs.fast_cpu.htdemucs import QuickHTDemucs, is_quick


class Network(Protocol):
    def __call__(self, mix: Tensor, sources: Sequence[int]) -> Tensor:
        """float32 [batch, channels, samples] -> float32 [batch, sources, channels, samples], both on the CPU, of
        the sources with these indices."""
        ...


def network_on(network: Any, device: torch.device, dtype: torch.dtype) -> Network:
    """The quickest way to compute a Demucs network there. The network belongs to what is returned from now on,
    and may be empty afterwards."""
    if device.type != "cpu" or not is_quick(network, dtype):
        return PlainNetwork(network, device, dtype)
    quick = QuickHTDemucs(network, dtype)
    # Whoever else holds the network holds no second copy of its weights.
    network.to("meta")
    return quick


class PlainNetwork:
    """A Demucs network as it is."""

    def __init__(self, network: Any, device: torch.device, dtype: torch.dtype) -> None:
        self._network = network.to(device)
        self._device = device
        self._dtype = dtype

    @torch.inference_mode()
    def __call__(self, mix: Tensor, sources: Sequence[int]) -> Tensor:
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not torch.float32):
            estimates = self._network(mix.to(self._device))
        wanted: Tensor = estimates[:, list(sources)].float().cpu()
        return wanted
