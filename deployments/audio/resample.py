"""Between the formats of chains and of engines: other rates, one channel or two."""

from __future__ import annotations

import numpy as np
import soxr

from deployments.audio.samples import Samples


class StreamingResampler:
    """A signal at another rate as it comes, float32 [channels, samples]: not delayed, only held back.

    The samples that come out, all together, are the same however the signal was cut: exactly
    round(samples * to_hz / from_hz). Up to a few hundredths of a second (a tenth where `to_hz` is small) are
    held back until it is known what follows them. libsoxr at its very high quality: linear phase, flat to 0.91
    of the lower Nyquist frequency. Nothing is changed or held back where the rates are equal.
    """

    def __init__(self, from_hz: int, to_hz: int, channels: int) -> None:
        self._rates_hz = from_hz, to_hz
        self._channels = channels
        self._stream = (
            soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32", quality="VHQ")
            if from_hz != to_hz
            else None
        )
        self._taken = 0
        self._given = 0
        self._last = np.zeros((channels, 1), dtype=np.float32)

    def push(self, samples: Samples) -> Samples:
        """The samples that nothing to come can change any more; perhaps none."""
        self._taken += samples.shape[1]
        return self._give(samples, last=False)

    def finish(self, total: int | None = None) -> Samples:
        """The rest. The signal is over.

        With `total` all that came out is so many samples instead: cut, or with the last one repeated. That is for
        who goes to another rate and back, where two roundings may leave a few more or less than there were.
        Raises ValueError where more were given already.
        """
        from_hz, to_hz = self._rates_hz
        wanted = (round(self._taken * to_hz / from_hz) if total is None else total) - self._given
        if wanted < 0:
            raise ValueError(f"{self._given} samples were given already, {total} are wanted")
        rest = self._give(np.zeros((self._channels, 0), dtype=np.float32), last=True)[:, :wanted]
        missing = wanted - rest.shape[1]  # soxr rounds the length its own way
        return np.concatenate([rest, np.repeat(self._last, missing, axis=1)], axis=1) if missing else rest

    def _give(self, samples: Samples, *, last: bool) -> Samples:
        given = samples
        if self._stream is not None:
            interleaved = np.ascontiguousarray(samples.T)
            given = np.ascontiguousarray(self._stream.resample_chunk(interleaved, last).T)
        self._given += given.shape[1]
        if given.shape[1]:
            self._last = given[:, -1:]
        return given


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """A whole signal at another rate, as `StreamingResampler` gives it.

    The same array comes back where the rates are equal.
    """
    if from_hz == to_hz:
        return samples
    stream = StreamingResampler(from_hz, to_hz, samples.shape[0])
    # By the second: one call for all of it takes three times as long.
    pieces = [
        stream.push(samples[:, start : start + from_hz]) for start in range(0, samples.shape[1], from_hz)
    ]
    return np.concatenate([*pieces, stream.finish()], axis=1)


CANCELLED_BELOW = 0.1
"""Stereo whose mean has less than this part of its channels' mean power is not averaged: what is the same in both
channels keeps all of its power, two signals that have nothing in common keep half, and antiphase keeps none."""


def to_channels(samples: Samples, channels: int) -> Samples:
    """float32 [channels, samples] with one channel or two: mono is doubled, stereo is averaged.

    For stretches of a longer signal, each by itself: `mixed_down` is for whole clips, whose channels may cancel
    each other. The same array comes back where nothing changes. Raises ValueError for other numbers of channels.
    """
    match samples.shape[0], channels:
        case (1, 1) | (2, 2):
            return samples
        case (1, 2):
            return np.repeat(samples, 2, axis=0)
        case (2, 1):
            mono: Samples = samples.mean(axis=0, keepdims=True, dtype=np.float32)
            return mono
        case given, _:
            raise ValueError(f"cannot make {channels} channels of {given}: only 1 and 2 are known")


def mixed_down(samples: Samples, channels: int) -> Samples:
    """A whole clip in so many channels, for a model that listens to it: as `to_channels`, but where the average of
    two channels would cancel most of what is in them (antiphase), the one with more power is taken instead.

    Raises ValueError as `to_channels`.
    """
    mono = to_channels(samples, channels)
    if (samples.shape[0], channels) != (2, 1) or not samples.size:
        return mono
    power = np.mean(np.square(samples, dtype=np.float64), axis=1)
    if np.mean(np.square(mono, dtype=np.float64)) >= CANCELLED_BELOW * power.mean():
        return mono
    louder = int(power[1] > power[0])
    return samples[louder : louder + 1]
