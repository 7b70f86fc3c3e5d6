"""What is heard in a clip: by Segue's analyser, and by librosa, which knows nothing of Segue."""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from librosa.beat import beat_track

from benchmarks.analysis.key import librosa_key
from deployments.audio.resample import resample
from deployments.audio.samples import Samples
from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.catalog import AnalyserOptions, find
from deployments.engines.analysis.clip import LISTENING_RATE_HZ
from deployments.engines.analysis.load import load
from deployments.engines.analysis.protocol import AnalysisRequest


@dataclass(frozen=True, slots=True)
class Plain:
    """librosa's tempo (`beat_track`) and key (Krumhansl's profiles on `chroma_cqt`)."""

    bpm: float
    key: str


class Judges:
    def __init__(self, runner: asyncio.Runner, cache_dir: Path) -> None:
        self._runner = runner
        self._analyser = load(find("signal"), cache_dir=cache_dir, options=AnalyserOptions(melody="none"))

    def analysis(self, samples: Samples, rate_hz: int) -> Analysis:
        """Of float32 [channels, samples]."""
        request = AnalysisRequest("benchmark", samples, rate_hz, wants_melody=False)
        return self._runner.run(self._analyser.analyse(request))

    def close(self) -> None:
        self._runner.run(self._analyser.close())


def plain(samples: Samples, rate_hz: int) -> Plain:
    mono = resample(samples.mean(0, keepdims=True), rate_hz, LISTENING_RATE_HZ)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bpm, _ = beat_track(y=mono, sr=LISTENING_RATE_HZ)
        return Plain(float(np.atleast_1d(bpm)[0]), librosa_key(mono))
