"""What audio is between modules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Audio as float32 [channels, samples], full scale ±1."""


@dataclass(frozen=True, slots=True)
class SoundFormat:
    rate_hz: int
    channels: int
