"""CLAP (Y. Wu et al., "Large-scale contrastive language-audio pretraining", ICASSP 2023) as a critic: it is
asked which of some sentences is most like what it hears.

Any `ClapModel` in transformers' format will do, from a local folder or by its name on the hub.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deployments.audio.samples import Samples
from deployments.engines.analysis.catalog import AnalyserEntry
from deployments.engines.analysis.clip import Clip
from deployments.engines.analysis.mood.critic import Evidence, Impression, no_impression
from deployments.engines.analysis.mood.emotion import emotion_at
from deployments.engines.analysis.mood.styles import STYLE_IDS, STYLES, chosen_style
from deployments.engines.analysis.mood.tiny_clap import ensure_tiny_clap
from deployments.engines.analysis.needs import of_analyser
from deployments.engines.common.device import Device, choose_device
from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.common.hub.cache import cache_folder, offline
from deployments.engines.common.hub.fetch import fetch
from deployments.engines.common.weights import state_sha256

METHOD = "clap"

STYLE_SENTENCES = tuple(f"This is {style.described}." for style in STYLES)

VALENCE_SENTENCES = (
    ("This is happy, cheerful music.", "This is sad, gloomy music."),
    ("This music sounds pleasant and positive.", "This music sounds unpleasant and negative."),
)
AROUSAL_SENTENCES = (
    ("This is energetic, exciting music.", "This is calm, relaxing music."),
    ("This music is loud, fast and intense.", "This music is quiet, slow and gentle."),
)
"""Opposites, the higher end first."""

_WINDOW_S = 10.0
_MOST_WINDOWS = 3
"""CLAP hears 10 s at once; of longer clips three windows are heard, from its beginning, middle and end."""


class ClapCritic:
    """Satisfies `Critic`. The constructor loads the model and blocks meanwhile (a download, for the hub's).

    Raises ModelUnavailable.
    """

    def __init__(self, entry: AnalyserEntry, *, cache_dir: Path, device: Device) -> None:
        self._device = choose_device(device)
        weights = of_analyser(entry)
        if weights is not None:
            fetch([weights])
        try:
            self._model, self._extractor, tokenizer = _load(entry, cache_dir)
            self._model.to(self._device)
            self._sentences = _sentences_of(self._model, tokenizer, self._device)
        except Exception as error:
            raise ModelUnavailable(f"{entry.name} cannot be loaded: {_explained(error, entry)}") from error
        self._rate_hz = int(self._extractor.sampling_rate)
        self._scale = float(self._model.logit_scale_a.detach().exp().cpu())
        self._sha256 = state_sha256(self._model.state_dict())
        self._lock = threading.Lock()

    @property
    def method(self) -> str:
        return METHOD

    @property
    def weights_sha256(self) -> str:
        return self._sha256

    def judge(self, clip: Clip, evidence: Evidence) -> Impression:
        if evidence.is_silent:
            return no_impression(METHOD)
        likeness = self._likeness(_windows(clip.at(self._rate_hz), self._rate_hz))
        styles = len(STYLES)
        shares = _softmax(self._scale * likeness[:styles])
        valence, arousal = (_between(likeness[styles:][pairs], self._scale) for pairs in _MOOD_PAIRS)
        sure = max(abs(valence), abs(arousal))
        return Impression(
            emotion_at(valence, arousal, sure, METHOD),
            chosen_style(dict(zip(STYLE_IDS, shares, strict=True)), METHOD),
        )

    @torch.inference_mode()
    def _likeness(self, windows: list[Samples]) -> npt.NDArray[np.float64]:
        """[sentences]: the mean cosine of the windows with each."""
        with self._lock:
            inputs = self._extractor(windows, sampling_rate=self._rate_hz, return_tensors="pt")
            inputs = {name: value.to(self._device) for name, value in inputs.items()}
            if "is_longer" in inputs:  # where none is, the extractor says so of one by lot
                inputs["is_longer"] = torch.zeros_like(inputs["is_longer"])
            heard = _normalised(_features(self._model.get_audio_features(**inputs)))
            cosines: npt.NDArray[np.float64] = (heard @ self._sentences.T).mean(0).double().cpu().numpy()
        return np.nan_to_num(cosines)


_VALENCE, _AROUSAL = len(VALENCE_SENTENCES), len(AROUSAL_SENTENCES)
_MOOD_PAIRS = (slice(0, 2 * _VALENCE), slice(2 * _VALENCE, 2 * (_VALENCE + _AROUSAL)))


def _load(entry: AnalyserEntry, cache_dir: Path) -> tuple[Any, Any, Any]:
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    source = entry.weights or str(entry.folder or ensure_tiny_clap(cache_dir))
    options: dict[str, Any] = {"cache_dir": str(cache_folder())}
    with offline():
        model = ClapModel.from_pretrained(source, **options).eval().requires_grad_(False)
        extractor = ClapFeatureExtractor.from_pretrained(source, **options)
        return model, extractor, AutoTokenizer.from_pretrained(source, **options)


@torch.inference_mode()
def _sentences_of(model: Any, tokenizer: Any, device: torch.device) -> Tensor:
    """[sentences, width], each of length 1: the styles', then the moods'."""
    moods = [sentence for pair in (*VALENCE_SENTENCES, *AROUSAL_SENTENCES) for sentence in pair]
    tokens = tokenizer([*STYLE_SENTENCES, *moods], padding=True, return_tensors="pt")
    wanted = {name: tokens[name].to(device) for name in ("input_ids", "attention_mask")}
    return _normalised(_features(model.get_text_features(**wanted)))


def _features(answer: Any) -> Tensor:
    """transformers 5 answers with a record, older ones with the tensor."""
    features: Tensor = answer if isinstance(answer, Tensor) else answer.pooler_output
    return features.float()


def _normalised(rows: Tensor) -> Tensor:
    scaled: Tensor = rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    return scaled


def _windows(samples: Samples, rate_hz: int) -> list[Samples]:
    length = round(_WINDOW_S * rate_hz)
    if samples.size <= length:
        return [samples]
    count = min(_MOST_WINDOWS, math.ceil(samples.size / length))
    starts = np.linspace(0, samples.size - length, count).round().astype(int)
    return [samples[start : start + length] for start in starts]


def _between(likeness: npt.NDArray[np.float64], scale: float) -> float:
    """-1..1: the mean of where the clip is between the ends of each pair."""
    pairs = likeness.reshape(-1, 2)
    return float(np.tanh(0.5 * scale * (pairs[:, 0] - pairs[:, 1])).mean())


def _softmax(values: npt.NDArray[np.float64]) -> list[float]:
    powers = np.exp(values - values.max())
    shares: list[float] = (powers / powers.sum()).tolist()
    return shares


def _explained(error: Exception, entry: AnalyserEntry) -> str:
    """Without the folder's path."""
    text = f"{type(error).__name__}: {error}"
    return text.replace(str(entry.folder), entry.folder.name) if entry.folder is not None else text
