"""The one type that audio has between modules."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Audio as float32 [channels, samples], full scale ±1."""
