"""Import audiocraft 1.3.0 on a modern torch with only what inference needs.

audiocraft imports its training stack (flashy, dora, torchmetrics, ...) and packages that have no build for
the torch in use (xformers, torchaudio) wherever a module is loaded. `import_audiocraft` tries each of them
and, where one is missing or does not load, registers a stand-in while audiocraft is imported. A stand-in
gives a `Placeholder` for every name, which raises `StandInUsed` as soon as it is called or looked into. Two
things that inference does use are real: `torchaudio.transforms.Spectrogram` (chroma) and the names of
`xformers.ops` that plain torch attention needs.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import torch

from deployments.engines.common.errors import ModelUnavailable

VERSION = "1.3.0"
INSTALL_COMMAND = f"pip install --no-deps audiocraft=={VERSION}"

_lock = threading.Lock()


class StandInUsed(ImportError):
    """Code asked a stand-in for something that only the real package can do."""


class Placeholder:
    """A name of a package that is not there: may be imported and kept, but not called or looked into."""

    def __init__(self, full_name: str) -> None:
        self.__dict__["_full_name"] = full_name

    def __call__(self, *args: object, **kwargs: object) -> Any:
        raise self._error()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self._error()

    def _error(self) -> StandInUsed:
        package = self._full_name.partition(".")[0]
        return StandInUsed(
            f"{self._full_name} was used, but the package {package} is not installed or does not load here; "
            f"audiocraft is imported for inference only, which does without it"
        )

    def __repr__(self) -> str:
        return f"<placeholder for {self._full_name}>"


class StandIn(ModuleType):
    """A module that has the given names, and a `Placeholder` for every other."""

    def __init__(self, name: str, names: Mapping[str, object]) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        placeholder = Placeholder(f"{self.__name__}.{name}")
        setattr(self, name, placeholder)
        return placeholder


class Spectrogram(torch.nn.Module):
    """`torchaudio.transforms.Spectrogram` as audiocraft's chroma extractor uses it, on `torch.stft`.

    float [..., samples] -> float [..., n_fft / 2 + 1, 1 + samples // hop_length]: |X|^power of a
    Hann-windowed, centred, reflect-padded short-time Fourier transform; with `normalized`, X is divided by
    the window's root of summed squares. `window` is a buffer, as in torchaudio, because checkpoints hold it.
    """

    window: torch.Tensor

    def __init__(
        self,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        pad: int = 0,
        window_fn: Callable[[int], torch.Tensor] = torch.hann_window,
        power: float = 2.0,
        normalized: bool = False,
        center: bool = True,
        pad_mode: str = "reflect",
    ) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.win_length = win_length or n_fft
        self.hop_length = hop_length or self.win_length // 2
        self.pad = pad
        self.power = power
        self.normalized = normalized
        self.center = center
        self.pad_mode = pad_mode
        self.register_buffer("window", window_fn(self.win_length))

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        if self.pad > 0:
            waveform = torch.nn.functional.pad(waveform, (self.pad, self.pad))
        spectrum = torch.stft(
            waveform.reshape(-1, waveform.shape[-1]),
            self.n_fft,
            self.hop_length,
            self.win_length,
            self.window,
            center=self.center,
            pad_mode=self.pad_mode,
            return_complex=True,
        )
        spectrum = spectrum.reshape(waveform.shape[:-1] + spectrum.shape[-2:])
        if self.normalized:
            spectrum = spectrum / self.window.square().sum().sqrt()
        return spectrum.abs().pow(self.power)


class LowerTriangularMask:
    """Says "causal": audiocraft's torch attention looks only whether a mask is there."""


# The root package decides: where it does not load, each of its modules here gets a stand-in.
_MODULES: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "torchaudio": {
        "torchaudio": {},
        "torchaudio.transforms": {"Spectrogram": Spectrogram},
    },
    "xformers": {
        "xformers": {},
        "xformers.ops": {"unbind": torch.unbind, "LowerTriangularMask": LowerTriangularMask},
    },
    "flashy": {"flashy": {}, "flashy.distrib": {}},
    "librosa": {"librosa": {}, "librosa.filters": {}},
    "av": {"av": {}},
    "num2words": {"num2words": {}},
    "spacy": {"spacy": {}},
}

# Its import alone draws in audiocraft's solvers, and with them the whole training stack.
_DIFFUSION = "audiocraft.models.multibanddiffusion"

# audiocraft imports xformers.ops again inside its attention; the others are needed at import time alone, and
# would make other libraries believe that those packages are there.
_LASTING = "xformers"


def import_audiocraft() -> ModuleType:
    """The audiocraft package, imported once per process with stand-ins for what it lacks.

    Raises ModelUnavailable if audiocraft is not installed.
    """
    with _lock:
        loaded = sys.modules.get("audiocraft")
        if loaded is not None:
            return loaded
        if importlib.util.find_spec("audiocraft") is None:
            raise ModelUnavailable(f"audiocraft is not installed; run: {INSTALL_COMMAND}")
        stand_ins = [
            stand_in
            for root, modules in _MODULES.items()
            if not _loads(root)
            for stand_in in _register(modules)
        ]
        stand_ins += _register({_DIFFUSION: {}})
        try:
            return importlib.import_module("audiocraft")
        finally:
            for name in stand_ins:
                if name.partition(".")[0] != _LASTING:
                    del sys.modules[name]


def _loads(package: str) -> bool:
    """Whether the real package imports; a library that is built for another torch counts as missing."""
    before = set(sys.modules)
    try:
        importlib.import_module(package)
    except (ImportError, OSError, RuntimeError):
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == package:
                del sys.modules[name]
        return False
    return True


def _register(modules: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Put a stand-in for each module into `sys.modules` and into its parent; their names."""
    for name, names in modules.items():
        stand_in = StandIn(name, names)
        sys.modules[name] = stand_in
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, stand_in)
    return list(modules)
