"""A clip as the parts of an analysis want it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from deployments.audio.resample import mixed_down, resample
from deployments.audio.samples import Samples

LISTENING_RATE_HZ = 22_050
"""For rhythm, key, timbre and energy: nothing of theirs is above 11 kHz."""

_LOUDEST = 8.0
"""18 dB over full scale. What is beyond was no audio at full scale 1 (integers as floats, say)."""


_SILENT = 1e-3
"""Of the loudest: 60 dB less is silence around the music."""

_BLOCK_S = 0.02


class Clip:
    """One channel at the rates that are asked for, each made once.

    Clips that reach far beyond full scale are brought down to it, and a constant offset is taken out; nothing in an
    analysis but the level, which is measured on the clip itself, depends on either then.
    """

    def __init__(self, samples: Samples, rate_hz: int) -> None:
        self.samples = samples
        self.rate_hz = rate_hz
        self.duration_s = samples.shape[1] / rate_hz

    @cached_property
    def _mono(self) -> Samples:
        peak = float(np.abs(self.samples).max())
        samples = self.samples if peak <= _LOUDEST else self.samples / np.float32(peak)
        mono = mixed_down(samples, 1)
        centred: Samples = mono - np.float32(mono.mean(dtype=np.float64))
        return centred

    @cached_property
    def _sounding_samples(self) -> tuple[int, int]:
        """The first sample that is no silence, and the one after the last; all of a clip that is silent throughout.

        Blocks are compared by their standard deviations, which an offset of the whole clip or of a part of it does
        not change.
        """
        mono = self._mono[0]
        block = max(1, round(_BLOCK_S * self.rate_hz))
        blocks = np.pad(mono, (0, -mono.size % block), mode="edge").reshape(-1, block)
        loud = blocks.std(axis=1, dtype=np.float64)
        sounding = np.flatnonzero(loud > _SILENT * loud.max())
        if not sounding.size:
            return 0, mono.size
        start, end = int(sounding[0]) * block, min(mono.size, int(sounding[-1] + 1) * block)
        apart = np.abs(np.diff(mono[start:end]))
        steps = np.flatnonzero(apart > _SILENT * apart.max())
        return (start + int(steps[0]), start + int(steps[-1]) + 2) if steps.size else (start, end)

    @property
    def sounding_from_s(self) -> float:
        """How long it is silent before anything sounds."""
        return self._sounding_samples[0] / self.rate_hz

    @cached_property
    def sounding(self) -> Clip:
        """The clip without the silence before and after it; itself where there is none."""
        start, end = self._sounding_samples
        if (start, end) == (0, self.samples.shape[1]):
            return self
        return Clip(self.samples[:, start:end], self.rate_hz)

    @cached_property
    def listening(self) -> Samples:
        """float32 [samples] at `LISTENING_RATE_HZ`."""
        return self.at(LISTENING_RATE_HZ)

    @cached_property
    def in_silence(self) -> Samples:
        """As `sounding.listening`, with nothing at all where the clip is silent before and after it."""
        sounding = self.sounding.listening
        total = round(self.samples.shape[1] * LISTENING_RATE_HZ / self.rate_hz)
        before = min(round(self.sounding_from_s * LISTENING_RATE_HZ), max(0, total - sounding.size))
        return np.pad(sounding, (before, max(0, total - before - sounding.size)))

    def at(self, rate_hz: int, longest_s: float | None = None) -> Samples:
        """float32 [samples] at another rate; of the clip's first `longest_s` seconds."""
        mono = self._mono
        if longest_s is not None:
            mono = mono[:, : round(longest_s * self.rate_hz)]
        return np.ascontiguousarray(resample(mono, self.rate_hz, rate_hz)[0])
