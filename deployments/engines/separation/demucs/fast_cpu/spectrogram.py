"""The transform between samples and the frames of an HTDemucs' frequency branch, and back."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


class Spectrogram:
    """`HTDemucs._spec` and `_ispec` for segments of `samples`. `frames` is how many one has, `frequencies` how
    many each of them has (the highest is left out)."""

    def __init__(self, nfft: int, samples: int) -> None:
        self.frequencies = nfft // 2
        self._hop = nfft // 4
        self.frames = math.ceil(samples / self._hop)
        self._samples = samples
        self._window = torch.hann_window(nfft)
        # So much is in front, that frame 0 is centred half a hop after the first sample.
        self._padding = self._hop // 2 * 3

    def of(self, x: Tensor) -> Tensor:
        """float32 [batch, channels, samples] -> float32 [batch, frequencies, frames, channels * 2]."""
        batch, channels, _ = x.shape
        behind = self._padding + self.frames * self._hop - self._samples
        padded = functional.pad(x, (self._padding, behind), mode="reflect")
        spectrum = torch.stft(
            padded.flatten(0, 1),
            2 * self.frequencies,
            self._hop,
            window=self._window,
            normalized=True,
            center=True,
            return_complex=True,
        )
        inside = torch.view_as_real(spectrum[:, :-1, 2 : 2 + self.frames])
        inside = inside.view(batch, channels, *inside.shape[1:])
        return inside.permute(0, 2, 3, 1, 4).flatten(3)

    def samples_of(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """float32 [batch, frequencies, frames, sources, channels, 2], as x * scale + shift (each [batch, 1, 1, 1])
        -> float32 [batch, sources, channels, samples]."""
        batch, frequencies, frames, sources, channels, _ = x.shape
        spectrum = torch.zeros((batch, sources, channels, frequencies + 1, frames + 4, 2))
        inside = spectrum[..., :frequencies, 2 : 2 + frames, :]
        torch.mul(x.permute(0, 3, 4, 1, 2, 5), scale[..., None, None], out=inside)
        inside += shift[..., None, None]
        signal = torch.istft(
            torch.view_as_complex(spectrum).flatten(0, 2),
            2 * frequencies,
            self._hop,
            window=self._window,
            normalized=True,
            length=self._hop * frames + 2 * self._padding,
            center=True,
        )
        signal = signal[:, self._padding : self._padding + self._samples]
        return signal.view(batch, sources, channels, self._samples)
