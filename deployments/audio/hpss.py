"""Harmonic and percussive parts of a signal, as `librosa.effects.hpss` gives them, a stretch at a time.

What lasts is smooth over time in a spectrogram, what strikes is smooth over frequency; a median along each axis
keeps the one and removes the other, and the two make a soft mask (D. Fitzgerald, "Harmonic/Percussive Separation
using Median Filtering", DAFx 2010). All settings are librosa 0.11's own: centred Hann windows of 2048 samples at
every 512, zeros around the signal, medians over 31 frames and 31 bins, both mirrored at their edges, power 2,
margin 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from deployments.audio.medians import REACH, running_medians
from deployments.audio.samples import Samples

WINDOW_SAMPLES = 2048
HOP_SAMPLES = 512
_BINS = WINDOW_SAMPLES // 2 + 1
_HOPS = WINDOW_SAMPLES // HOP_SAMPLES
_LEAD_SAMPLES = WINDOW_SAMPLES // 2
"""The first window begins so long before the signal."""

_GROUP = 256
"""Frames that are worked on at once: three seconds of music. Fewer would leave numpy with rows too short."""

_GROUP_HOP_SAMPLES = _GROUP * HOP_SAMPLES
_GROUP_SAMPLES = (_GROUP - 1) * HOP_SAMPLES + WINDOW_SAMPLES

_LOUDEST = np.float32(1e30)
"""So that what a spectrum adds up stays within float32."""

_WINDOW = 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, WINDOW_SAMPLES + 1)[:-1])
_WINDOW_32 = _WINDOW.astype(np.float32)
_POWER_BY_HOP = np.square(_WINDOW).reshape(_HOPS, HOP_SAMPLES)

_Values = npt.NDArray[np.float32]


class Parts(NamedTuple):
    """float32 [channels, samples] each. `percussive` is what `harmonic` leaves of the signal, so that the sum
    of the two is the signal up to the rounding of one subtraction."""

    harmonic: Samples
    percussive: Samples


class StreamingHpss:
    """A signal's harmonic and percussive parts as it comes, each channel for itself, float32 [channels, samples].

    What comes out is all together exactly as long as what went in, and the same bits however that was cut. Up to
    seven seconds (at 44.1 kHz) are held back, and 50 MB taken. The work is done for every 131072 samples.

    The same as librosa's of the whole signal to 1e-6 of its peak, at the edges too: spectra and medians are the
    same bits, but librosa makes the percussive part with a mask and an inverse transform of its own and adds up in
    another order. (Of 512 to 1535 samples librosa's answers vary: scipy's median filter reads past spectrograms of
    two and three frames.) Where both medians are zero, each part gets half, as in librosa. Samples beyond 1e30
    count as 1e30 in the harmonic part.
    """

    def __init__(self, channels: int) -> None:
        self._channels = channels
        # From where the next frame begins on.
        self._unheard = [np.zeros((channels, _LEAD_SAMPLES), np.float32)]
        # Frames without masks: as many must follow them as a median reaches.
        self._waiting: _Frames | None = None
        self._before = np.zeros((channels, 0, _BINS), np.float32)
        # From hop `_hops` on: what the frames before it reach into, and the signal.
        self._hops = 0
        self._begun = np.zeros((channels, _HOPS - 1, HOP_SAMPLES), np.float32)
        self._signal = [np.zeros((channels, 0), np.float32)]

    def push(self, samples: Samples) -> Parts:
        """The parts that nothing to come can change any more; perhaps none."""
        given = [self._none()]
        for start in range(0, samples.shape[1], _GROUP_HOP_SAMPLES):
            piece = samples[:, start : start + _GROUP_HOP_SAMPLES].copy()
            self._unheard.append(piece)
            self._signal.append(piece)
            if sum(heard.shape[1] for heard in self._unheard) >= _GROUP_SAMPLES:
                unheard = np.concatenate(self._unheard, axis=1)
                given.append(self._hear(unheard[:, :_GROUP_SAMPLES]))
                self._unheard = [unheard[:, _GROUP_HOP_SAMPLES:]]
        return _joined(given)

    def finish(self) -> Parts:
        """The rest. The signal is over."""
        silence = np.zeros((self._channels, WINDOW_SAMPLES - _LEAD_SAMPLES), np.float32)
        unheard = np.concatenate([*self._unheard, silence], axis=1)
        frames = 1 + (unheard.shape[1] - WINDOW_SAMPLES) // HOP_SAMPLES
        given = []
        for first in range(0, frames, _GROUP):
            end = (min(first + _GROUP, frames) - 1) * HOP_SAMPLES + WINDOW_SAMPLES
            given.append(self._hear(unheard[:, first * HOP_SAMPLES : end]))
        given.append(self._separate(self._before[:, :0]))
        given.append(self._give(self._begun, frames=self._hops))
        return _joined(given)

    def _hear(self, samples: Samples) -> Parts:
        """Analyse the next frames. Those that waited for them are separated."""
        frames = _analyse(samples)
        given = self._separate(frames.magnitudes[:, :REACH])
        self._waiting = frames
        return given

    def _separate(self, after: _Values) -> Parts:
        if self._waiting is None:
            return self._none()
        spectra, magnitudes = self._waiting
        around = np.concatenate([self._before, magnitudes, after], axis=1)
        missing = REACH - self._before.shape[1], REACH - after.shape[1]
        around = np.pad(around, ((0, 0), missing, (0, 0)), mode="symmetric")
        count = spectra.shape[1]
        hops = np.pad(self._begun, ((0, 0), (0, count), (0, 0)))
        for channel in range(self._channels):
            _overlap_add(hops[channel], spectra[channel] * _harmonic_mask(around[channel]))
        self._before = magnitudes[:, -REACH:]
        self._waiting = None
        self._begun = hops[:, count:]
        return self._give(hops[:, :count], frames=self._hops + count)

    def _give(self, hops: _Values, frames: int) -> Parts:
        """The next hops; `frames` is how many frames there were until now."""
        harmonic = (hops / _window_power(self._hops, hops.shape[1], frames)).reshape(self._channels, -1)
        harmonic = harmonic[:, max(0, _LEAD_SAMPLES - self._hops * HOP_SAMPLES) :]
        signal = np.concatenate(self._signal, axis=1)
        count = min(harmonic.shape[1], signal.shape[1])
        self._hops += hops.shape[1]
        self._signal = [signal[:, count:]]
        return Parts(harmonic[:, :count], signal[:, :count] - harmonic[:, :count])

    def _none(self) -> Parts:
        none = np.zeros((self._channels, 0), np.float32)
        return Parts(none, none)


def hpss(samples: Samples) -> Parts:
    """The parts of a whole signal, as `StreamingHpss` gives them."""
    stream = StreamingHpss(samples.shape[0])
    return _joined([stream.push(samples), stream.finish()])


class _Frames(NamedTuple):
    """[channels, frames, bins] each."""

    spectra: npt.NDArray[np.complex64]
    magnitudes: _Values


def _analyse(samples: Samples) -> _Frames:
    """The frames that lie wholly in `samples`, transformed with float64 as librosa does it."""
    limited = np.clip(samples, -_LOUDEST, _LOUDEST)
    frames = sliding_window_view(limited, WINDOW_SAMPLES, axis=1)[:, ::HOP_SAMPLES]
    spectra = np.empty((*frames.shape[:2], _BINS), np.complex64)
    for channel, own in enumerate(frames):
        spectra[channel] = np.fft.rfft(own * _WINDOW)
    return _Frames(spectra, np.abs(spectra))


def _harmonic_mask(magnitudes: _Values) -> _Values:
    """[frames, bins] within 0..1, of the magnitudes of these frames and of `REACH` more on each side."""
    lasting = running_medians(magnitudes)
    mirrored = np.pad(magnitudes[REACH:-REACH], ((0, 0), (REACH, REACH)), mode="symmetric")
    striking = np.ascontiguousarray(running_medians(mirrored.T).T)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        mask = striking / lasting
        mask *= mask
        mask += 1
        np.reciprocal(mask, out=mask)
    mask[np.isnan(mask)] = 0.5  # 0 / 0
    return mask


def _overlap_add(hops: _Values, spectra: npt.NDArray[np.complex64]) -> None:
    """Add frames, [frames, bins], to [frames + 3, samples of a hop] in place."""
    frames = np.fft.irfft(spectra) * _WINDOW_32
    for hop in range(_HOPS):
        hops[hop : hop + len(frames)] += frames[:, hop * HOP_SAMPLES : (hop + 1) * HOP_SAMPLES]


def _window_power(first_hop: int, hops: int, frames: int) -> _Values:
    """[hops, samples of a hop]: the squares of all windows over them, added up; 1 where there is none."""
    frame = np.arange(first_hop, first_hop + hops)[:, None] - np.arange(_HOPS)
    power = ((frame >= 0) & (frame < frames)) @ _POWER_BY_HOP
    return np.where(power > 0, power, 1).astype(np.float32)


def _joined(parts: Sequence[Parts]) -> Parts:
    harmonic, percussive = zip(*parts, strict=True)
    return Parts(np.concatenate(harmonic, axis=1), np.concatenate(percussive, axis=1))
