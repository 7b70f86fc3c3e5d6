"""The one gain that brings a signal to a level. No limiter, no clipping: without room for peaks it gets less."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from deployments.audio.levels import SILENT_BELOW_DBFS
from deployments.audio.loudness import Loudness
from deployments.audio.samples import Samples

CEILING_DBTP = -1.0
"""What EBU R128 allows for true peaks."""

_ROUNDED_DOWN = 1.0 - 2.0**-22
"""A factor so much smaller than asked for cannot be rounded over the ceiling, neither itself nor its products."""


class NormaliseMode(StrEnum):
    """What is brought to the target: the true peak, in dBTP, or the integrated loudness, in LUFS."""

    PEAK = "peak"
    LUFS = "lufs"


@dataclass(frozen=True, slots=True)
class Gain:
    """`limited_by_ceiling`: the target would have needed more. `measured_db` is what was to be brought to the
    target, in its unit; None where the signal is too quiet or too short to measure it: nothing is amplified."""

    gain_db: float
    limited_by_ceiling: bool
    measured_db: float | None

    @property
    def reached_db(self) -> float | None:
        """The level after the gain, in the target's unit."""
        return None if self.measured_db is None else self.measured_db + self.gain_db


def normalising_gain(
    loudness: Loudness, mode: NormaliseMode, target_db: float, ceiling_dbtp: float = CEILING_DBTP
) -> Gain:
    """To `target_db`, as far as the true peak stays at or under the ceiling.

    A signal whose level cannot be told (silence; peaks under -60 dBTP; for `lufs` also one shorter than 400 ms or
    under -70 LUFS) keeps its own: 0 dB, or less if even that is over the ceiling.
    """
    room_db = ceiling_dbtp - loudness.true_peak_dbtp
    measured_db: float | None = None
    if loudness.true_peak_dbtp >= SILENT_BELOW_DBFS:
        measured_db = loudness.true_peak_dbtp if mode is NormaliseMode.PEAK else loudness.integrated_lufs
    wanted_db = 0.0 if measured_db is None else target_db - measured_db
    return Gain(min(wanted_db, room_db), wanted_db > room_db, measured_db)


def apply_gain(samples: Samples, gain: Gain) -> Samples:
    """Every sample by itself, so a signal may come in blocks. With 0 dB the same array comes back.

    No sample of a signal with the measured peak is over the ceiling then, and its true peak is at or under it but
    for float32's rounding (less than 0.001 dB), measured as it was before. (A meter that interpolates more finely
    may find up to 0.5 dB more; EBU R128's ceiling of -1 dBTP is for that.)
    """
    if gain.gain_db == 0.0:
        return samples
    return samples * np.float32(10.0 ** (gain.gain_db / 20.0) * _ROUNDED_DOWN)
