"""Convolutions of short rows with kernels about as long as the rows: a fraction of the work when it is done in the
spectrum (T. Highlander, A. Rodriguez, "Very Efficient Training of Convolutional Neural Networks using Fast Fourier
Transform and Overlap-and-Add", BMVC 2015; the strided one is decimated in the spectrum too)."""

from __future__ import annotations

import torch
from torch import Tensor

_FAST_MULTIPLE = 16
"""Transforms of such lengths are quick, as long as no large prime is left."""


class SpectralConvolution:
    """`Conv1d` (torch's, which is a correlation) of rows of one length with zeros around them: the same numbers, to
    float32's rounding.

    `weight` is [outputs, inputs, kernel], `bias` [outputs]. Row position j * `stride` is under the kernel's
    position `centre`. Raises ValueError if `length` is no multiple of `stride`.
    """

    def __init__(self, weight: Tensor, bias: Tensor, *, length: int, centre: int, stride: int = 1) -> None:
        if length % stride:
            raise ValueError(f"{length} positions are no multiple of a stride of {stride}")
        self._outputs = length // stride
        offsets = torch.arange(weight.shape[2]) - centre
        within = (offsets > -length) & (offsets < length)  # the others meet nothing but zeros
        offsets = offsets[within]
        last = length - stride + int(offsets[-1])
        fast = _FAST_MULTIPLE * stride
        # So long that what comes round at the ends meets zeros.
        self._length = fast * -(-max(last + 1, length - int(offsets[0])) // fast)
        kernel = torch.zeros(*weight.shape[:2], self._length, dtype=torch.float64)
        kernel[:, :, offsets % self._length] = weight[:, :, within].double().cpu()
        response = torch.fft.fft(kernel).conj()
        # Keeping each stride-th position folds the spectrum so many times onto itself.
        self._decimated = self._length // stride
        folded = (
            torch.arange(self._decimated // 2 + 1)[:, None] + self._decimated * torch.arange(stride)
        ) % self._length
        matrices = response[:, :, folded].permute(2, 3, 1, 0).flatten(1, 2) / stride
        self._folded = folded.to(weight.device)
        self._matrices = matrices.to(weight.device, torch.complex64).contiguous()
        self._bias = bias

    def __call__(self, rows: Tensor) -> Tensor:
        """float32 [length, rows, inputs] -> [length // stride, rows, outputs]"""
        if self._decimated == self._length:
            spectrum = torch.fft.rfft(rows, self._length, dim=0)
        else:
            spectrum = torch.fft.fft(rows, self._length, dim=0)[self._folded]
            spectrum = spectrum.transpose(1, 2).flatten(2)
        answers = torch.fft.irfft(torch.bmm(spectrum, self._matrices), self._decimated, dim=0)
        convolved: Tensor = answers[: self._outputs] + self._bias
        return convolved
