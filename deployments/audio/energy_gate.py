"""Which stretches of a signal sound: a gate on the energy of short frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples


@dataclass(frozen=True, slots=True)
class GateSettings:
    """A stretch begins with a frame at `floor_dbfs` or above, and goes on while frames are not more than
    `hysteresis_db` below that, over pauses of `hold_s` at most.

    A frame's level is the mean power of its loudest channel (a sine of full scale is -3 dBFS), DC included.
    """

    floor_dbfs: float = -50.0
    hysteresis_db: float = 6.0
    hold_s: float = 0.2
    frame_s: float = 0.01


class Stretch(NamedTuple):
    """Samples `start` to `end`, without `end`. Both are where a frame begins or the signal ends."""

    start: int
    end: int


class EnergyGate:
    """The stretches that sound, in order, as the signal comes, float32 [channels, samples]. However it is cut, they
    are the same."""

    def __init__(self, rate_hz: int, settings: GateSettings | None = None) -> None:
        settings = settings or GateSettings()
        self._frame_samples = max(1, round(settings.frame_s * rate_hz))
        self._hold_samples = round(settings.hold_s * rate_hz)
        self._opening_power = 10 ** (settings.floor_dbfs / 10)
        self._keeping_power = 10 ** ((settings.floor_dbfs - settings.hysteresis_db) / 10)
        self._pieces: list[Samples] = []  # less than a frame
        self._position = 0
        self._open: Stretch | None = None

    def push(self, samples: Samples) -> list[Stretch]:
        """The stretches that are known to be over."""
        signal = np.concatenate([*self._pieces, samples], axis=1)
        framed = signal.shape[1] - signal.shape[1] % self._frame_samples
        self._pieces = [signal[:, framed:].copy()]
        frames = signal[:, :framed].reshape(signal.shape[0], -1, self._frame_samples)
        return self._hear(frames)

    def finish(self) -> list[Stretch]:
        """The rest. The signal is over; a last frame that is shorter counts as one."""
        rest = [piece[:, None] for piece in self._pieces if piece.size]
        closed = [stretch for frames in rest for stretch in self._hear(frames)]
        if self._open is not None:
            closed.append(self._open)
            self._open = None
        return closed

    def _hear(self, frames: Samples) -> list[Stretch]:
        """`frames` is [channels, frames, samples of a frame]."""
        closed: list[Stretch] = []
        for power in _powers(frames):
            start, self._position = self._position, self._position + frames.shape[2]
            if self._open is None:
                if power >= self._opening_power:
                    self._open = Stretch(start, self._position)
            elif power >= self._keeping_power:
                self._open = Stretch(self._open.start, self._position)
            elif self._position - self._open.end > self._hold_samples:
                closed.append(self._open)
                self._open = None
        return closed


def sounding(samples: Samples, rate_hz: int, settings: GateSettings | None = None) -> list[Stretch]:
    """The stretches of a whole signal, as `EnergyGate` gives them."""
    gate = EnergyGate(rate_hz, settings)
    return [*gate.push(samples), *gate.finish()]


def _powers(frames: Samples) -> list[float]:
    exact: npt.NDArray[np.float64] = frames.astype(np.float64)
    powers: list[float] = np.square(exact).mean(axis=2).max(axis=0, initial=0.0).tolist()
    return powers
