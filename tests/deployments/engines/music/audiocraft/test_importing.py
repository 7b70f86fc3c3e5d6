from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.music.audiocraft import importing as audiocraft_import
from deployments.engines.music.audiocraft.importing import (
    Spectrogram,
    StandIn,
    StandInUsed,
    import_audiocraft,
)

pytestmark = pytest.mark.torch


def _spectrogram_by_definition(signal: np.ndarray[Any, Any], n_fft: int, hop: int) -> np.ndarray[Any, Any]:
    """Power spectra of Hann-windowed frames of the reflected signal, normalised by the window's energy."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.pad(signal, n_fft // 2, mode="reflect")
    starts = range(0, len(padded) - n_fft + 1, hop)
    spectra = [np.fft.rfft(padded[start : start + n_fft] * window) for start in starts]
    return np.abs(np.array(spectra)).T ** 2 / np.sum(window**2)


@pytest.mark.parametrize(("n_fft", "hop", "samples"), [(64, 16, 1000), (256, 64, 256), (128, 128, 1001)])
def test_spectrogram_is_what_the_definition_says(n_fft: int, hop: int, samples: int) -> None:
    signal = np.random.default_rng(0).standard_normal(samples)
    transform = Spectrogram(n_fft=n_fft, win_length=n_fft, hop_length=hop, normalized=True).double()
    got = transform(torch.from_numpy(signal)[None, None])
    expected = _spectrogram_by_definition(signal, n_fft, hop)
    assert got.shape == (1, 1, *expected.shape)
    # The window buffer was made in float32.
    np.testing.assert_allclose(got[0, 0].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_spectrogram_keeps_its_window_in_the_state() -> None:
    state = Spectrogram(n_fft=64).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {"window": (64,)}


def test_stand_in_can_be_imported_from_but_not_used() -> None:
    module = StandIn("torchaudio", {"here": 1})
    assert module.here == 1
    with pytest.raises(
        StandInUsed, match=r"torchaudio\.load was used, but the package torchaudio is not inst"
    ):
        module.load("file.wav")
    with pytest.raises(StandInUsed, match=r"torchaudio\.functional"):
        _ = module.functional.resample


def test_stand_in_does_not_answer_to_probes() -> None:
    assert not hasattr(StandIn("torchaudio", {}), "__version__")


def test_missing_audiocraft_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "audiocraft", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable, match=r"pip install --no-deps audiocraft==1\.3\.0"):
        import_audiocraft()


def test_import_gives_the_real_package_once() -> None:
    audiocraft = import_audiocraft()
    assert audiocraft.__version__ == audiocraft_import.VERSION
    assert import_audiocraft() is audiocraft


_WITHOUT_OPTIONAL_PACKAGES = """
import sys

MISSING = {"torchaudio", "xformers", "flashy", "dora", "torchmetrics", "spacy", "num2words", "av", "librosa"}

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from deployments.engines.music.audiocraft.importing import import_audiocraft
import_audiocraft()
from audiocraft.data.audio import audio_read
from audiocraft.models import MusicGen, MultiBandDiffusion
left = sorted({name.partition(".")[0] for name in sys.modules} & MISSING)
print(left)
try:
    audio_read("song.m4a")
except ImportError as error:
    print("av" in str(error))
"""


def test_imports_where_every_optional_package_is_missing_and_leaves_only_xformers_behind() -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", _WITHOUT_OPTIONAL_PACKAGES],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["['xformers']", "True"]
