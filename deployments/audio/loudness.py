"""How loud a signal is: integrated loudness and true peak of ITU-R BS.1770-5, as EBU R128 asks for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from deployments.audio.levels import decibels_of_power
from deployments.audio.samples import Samples

MIN_RATE_HZ = 4000
"""Below this the K-weighting's shelf has no room."""

_STEPS_PER_S = 10
_STEPS_PER_BLOCK = 4
"""Gating blocks are 400 ms and begin every 100 ms."""

_OFFSET_LU = -0.691
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0

_TAPS = 32
"""Of the interpolator, for each of its phases. Annex 2 has 12, and reads up to 0.3 dB less near the upper end."""

_TAPER = 7.0
_RUN = 64
"""Neighbours that are interpolated as one row of a matrix product."""

_LOUDEST = np.float32(1e30)
_GONE = 1e-30

_Exact = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loudness:
    """`integrated_lufs` is None where no block passes the gate of -70 LUFS: silence, and less than 400 ms.

    The others are over all channels, relative to full scale (1.0), and never under -120: the greatest value between
    the samples or on one, the greatest sample, and the mean power (a full-scale sine has -3.01).
    """

    integrated_lufs: float | None
    true_peak_dbtp: float
    peak_dbfs: float
    rms_dbfs: float


class LoudnessMeter:
    """Measures a signal as it comes, float32 [channels, samples].

    One channel is weighted as the left or right one of two: a mono signal measures 3 LU less than the same signal
    in both channels. True peaks are looked for with 4 times oversampling below 96 kHz, twice below 192 kHz, and
    from there on among the samples; around the signal there is silence. Values beyond 1e30 have a true peak of
    1e30. How the signal is cut changes no more than rounding.

    Raises ValueError for other than one or two channels, and for rates under 4 kHz.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        if channels not in (1, 2):
            raise ValueError(f"cannot weight {channels} channels: only 1 and 2 are known")
        self._channels = channels
        self._samples = 0
        self._peak = 0.0
        self._energy = 0.0
        self._weighted = _WeightedBlocks(rate_hz, channels)
        self._interpolated = _TruePeak(rate_hz, channels)

    def push(self, samples: Samples) -> None:
        if not samples.shape[1]:
            return
        exact = samples.astype(np.float64)
        self._samples += samples.shape[1]
        self._peak = max(self._peak, float(np.abs(samples).max()))
        self._energy += float(np.vdot(exact, exact))
        self._weighted.push(exact)
        self._interpolated.push(samples)

    def finish(self) -> Loudness:
        """The signal is over."""
        power = self._energy / (self._channels * self._samples) if self._samples else 0.0
        true_peak = max(self._peak, self._interpolated.finish())
        return Loudness(
            integrated_lufs=gated_lufs(self._weighted.powers()),
            true_peak_dbtp=decibels_of_power(true_peak**2),
            peak_dbfs=decibels_of_power(self._peak**2),
            rms_dbfs=decibels_of_power(power),
        )


def measure_loudness(samples: Samples, rate_hz: int) -> Loudness:
    """Of a whole signal, as `LoudnessMeter` gives it."""
    meter = LoudnessMeter(rate_hz, samples.shape[0])
    for start in range(0, samples.shape[1], rate_hz):
        meter.push(samples[:, start : start + rate_hz])
    return meter.finish()


class KWeighting:
    """The weighting of BS.1770 as a signal comes. Raises ValueError for rates under 4 kHz."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._filter = _k_weighting(rate_hz)
        self._state = np.zeros((len(self._filter), channels, 2))

    def push(self, samples: _Exact) -> _Exact:
        """The weighted energy of each sample, [samples], all channels together."""
        from scipy.signal import sosfilt  # takes most of a second, and some import this module for its names

        weighted, state = sosfilt(self._filter, samples, axis=1, zi=self._state)
        # What has died away would go on as subnormal numbers, which are slow.
        self._state = np.where(np.abs(state) < _GONE, 0.0, state)
        energy: _Exact = np.einsum("cs,cs->s", weighted, weighted)
        return energy


def weighted_power(samples: Samples, rate_hz: int) -> float:
    """The mean K-weighted power of a stretch without its DC, all channels together; 0 for an empty one. Raises
    ValueError for rates under 4 kHz."""
    if not samples.size:
        return 0.0
    exact = samples.astype(np.float64)
    exact -= exact.mean(axis=1, keepdims=True)
    return float(KWeighting(rate_hz, samples.shape[0]).push(exact).mean())


def integrated_lufs(samples: Samples, rate_hz: int) -> float | None:
    """As `measure_loudness` gives it, without the peaks."""
    meter = _WeightedBlocks(rate_hz, samples.shape[0])
    for start in range(0, samples.shape[1], rate_hz):
        meter.push(samples[:, start : start + rate_hz].astype(np.float64))
    return gated_lufs(meter.powers())


def lufs(power: float) -> float:
    """The loudness of a K-weighted power; minus infinity for none."""
    return _OFFSET_LU + 10.0 * math.log10(power) if power > 0.0 else -math.inf


class _WeightedBlocks:
    """The K-weighted energy of every 100 ms, all channels together."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz = rate_hz
        self._weighting = KWeighting(rate_hz, channels)
        self._position = 0
        self._energies: list[float] = []
        self._unfinished = 0.0

    def push(self, samples: _Exact) -> None:
        energy = self._weighting.push(samples)
        start = 0
        while (end := self._step_start(len(self._energies) + 1) - self._position) <= energy.size:
            self._energies.append(self._unfinished + float(energy[start:end].sum()))
            self._unfinished, start = 0.0, end
        self._unfinished += float(energy[start:].sum())
        self._position += energy.size

    def powers(self) -> _Exact:
        """The mean power of every whole block."""
        steps = len(self._energies)
        if steps < _STEPS_PER_BLOCK:
            return np.zeros(0)
        starts = np.array([self._step_start(step) for step in range(steps + 1)])
        energies = sliding_window_view(np.array(self._energies), _STEPS_PER_BLOCK).sum(axis=1)
        powers: _Exact = energies / (starts[_STEPS_PER_BLOCK:] - starts[:-_STEPS_PER_BLOCK])
        return powers

    def _step_start(self, step: int) -> int:
        return round(step * self._rate_hz / _STEPS_PER_S)


def gated_lufs(powers: _Exact) -> float | None:
    """The loudness of the blocks that pass the gates: -70 LUFS, then 10 LU under the mean of what is left. None
    where none does. `powers`: the mean K-weighted power of each block."""
    heard = powers[powers > 10 ** ((_ABSOLUTE_GATE_LUFS - _OFFSET_LU) / 10)]
    if not heard.size:
        return None
    foreground = heard[heard > heard.mean() * 10 ** (_RELATIVE_GATE_LU / 10)]
    return lufs(float(foreground.mean()))


def _k_weighting(rate_hz: int) -> _Exact:
    """The shelf and the high-pass of BS.1770 as second-order sections for any rate: the analogue filters of which
    its table for 48 kHz is the bilinear transform (B. De Man, "Evaluation of Implementations of the EBU R128
    Loudness Measurement", AES 145, 2018)."""
    if rate_hz < MIN_RATE_HZ:
        raise ValueError(f"cannot measure loudness at {rate_hz} Hz: {MIN_RATE_HZ} Hz is the least")
    k, q = math.tan(math.pi * 1681.974450955533 / rate_hz), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    shelf = [high + middle * k / q + k * k, 2 * (k * k - high), high - middle * k / q + k * k]
    shelf_poles = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    k, q = math.tan(math.pi * 38.13547087602444 / rate_hz), 0.5003270373238773
    high_pass_poles = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    return np.array(
        [
            [value / shelf_poles[0] for value in (*shelf, *shelf_poles)],
            [1.0, -2.0, 1.0, *(value / high_pass_poles[0] for value in high_pass_poles)],
        ]
    )


class _TruePeak:
    """The greatest magnitude between the samples."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._between = _interpolator(_oversampling(rate_hz))
        self._signal = np.zeros((channels, _TAPS - 1), np.float32)
        self._peak = 0.0

    def push(self, samples: Samples) -> None:
        if not self._between.size:
            return
        signal = np.concatenate([self._signal, np.clip(samples, -_LOUDEST, _LOUDEST)], axis=1)
        runs = (signal.shape[1] - _TAPS + 1) // _RUN
        if runs:
            rows = sliding_window_view(signal, _RUN + _TAPS - 1, axis=1)[:, : runs * _RUN : _RUN]
            between = np.ascontiguousarray(rows).reshape(-1, rows.shape[2]) @ self._between
            self._peak = max(self._peak, float(between.max()), -float(between.min()))
        self._signal = signal[:, runs * _RUN :].copy()

    def finish(self) -> float:
        self.push(np.zeros((self._signal.shape[0], _TAPS + _RUN), np.float32))
        return self._peak


def _oversampling(rate_hz: int) -> int:
    if rate_hz < 96_000:
        return 4
    return 2 if rate_hz < 192_000 else 1


def _interpolator(times: int) -> npt.NDArray[np.float32]:
    """[run + taps - 1, run * (times - 1)]: the values between neighbours of a run, from the samples around them.

    A sinc under a Kaiser window, a polyphase filter; the phase that gives the samples themselves is left out.
    """
    taps = np.arange(_TAPS) - (_TAPS // 2 - 1)
    between = np.zeros((_RUN + _TAPS - 1, _RUN, times - 1))
    for phase in range(1, times):
        distance = taps - phase / times
        inside = np.clip(1 - np.square(distance / (_TAPS / 2)), 0, None)
        kernel = np.sinc(distance) * np.i0(_TAPER * np.sqrt(inside)) / np.i0(_TAPER)
        for first in range(_RUN):
            between[first : first + _TAPS, first, phase - 1] = kernel / kernel.sum()
    return between.reshape(len(between), -1).astype(np.float32)
