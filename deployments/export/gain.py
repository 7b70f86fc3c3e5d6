"""The gain that brings a signal inside full scale, where formats end that hold integers."""

from __future__ import annotations

import math


def fitting_gain_db(peak_dbfs: float) -> float:
    """The gain that brings a signal of that peak inside full scale; 0 where it is inside already."""
    return -max(0.0, peak_dbfs) or 0.0


def downloaded_gain_db(peak_dbfs: float) -> float:
    """The gain of a download that cannot be over full scale, made of audio with that peak: to a ten-thousandth of a
    decibel."""
    return -math.ceil(-fitting_gain_db(peak_dbfs) * 1e4) / 1e4 or 0.0


def gain_factor(gain_db: float) -> float:
    """A gain of 0 dB or less as a factor, a hair less so that a peak brought to full scale is not rounded over
    it."""
    return 1.0 if gain_db == 0.0 else 10.0 ** (gain_db / 20.0) * (1.0 - 2.0**-22)
