"""Layers of a convolutional decoder that take their input piece by piece.

Each class is one layer at work on one stream: it gives every output that no later input can change, and holds
what it still needs of the input so far. All its outputs, one after the other, are those for the whole input at
once. Gradients must be off.

Pieces are time-major, float32 [steps, rows, features]; rows are independent signals. In this layout a
convolution is, for each tap, one product of matrices that need no copy. On a CPU that is faster than torch's own
convolutions, which rearrange weights or windows at every call: several times for a few frames of EnCodec, and
still for a whole second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

PaddingMode = Literal["constant", "reflect", "replicate"]
PADDING_MODES = get_args(PaddingMode)

State = tuple[Tensor, Tensor]

# torch's LSTM on a CPU needs less time for a step, but first rearranges all weights.
_FEW_STEPS = 32


class LayerStream(Protocol):
    """A layer at work on one stream."""

    def push(self, x: Tensor, *, last: bool) -> Tensor:
        """[any steps, rows, in] -> [settled steps, rows, out]; with `last` all that remain."""
        ...


OpenLayer = Callable[[], LayerStream]


@dataclass(frozen=True, slots=True)
class Padding:
    """What a convolution sees before the first step (`left` steps) and after the last (`right` steps)."""

    left: int
    right: int
    mode: PaddingMode

    @property
    def least(self) -> int:
        """How many steps there must be before those on the left are known."""
        return {"constant": 0, "replicate": 1, "reflect": max(self.left, self.right) + 1}[self.mode]

    def before(self, x: Tensor) -> Tensor:
        return torch.cat([self._edge(x, self.left), x])

    def after(self, x: Tensor) -> Tensor:
        """`x` may be the end alone."""
        return torch.cat([x, self._edge(x[-self.right - 1 :].flip(0), self.right).flip(0)])

    def around(self, x: Tensor) -> Tensor:
        """Both, for a whole input. What is too short to be reflected is lengthened with zeros meanwhile, as
        audiocraft does it."""
        missing = max(0, self.least - len(x))
        lengthened = torch.cat([x, x.new_zeros(missing, *x.shape[1:])])
        return self.after(self.before(lengthened))[: self.left + len(x) + self.right]

    def _edge(self, x: Tensor, count: int) -> Tensor:
        """The `count` steps before the first of `x`."""
        if self.mode == "reflect":
            return x[1 : count + 1].flip(0)
        zeros = x.new_zeros(count, *x.shape[1:])
        return zeros if self.mode == "constant" else zeros + x[:1]


class ConvolutionStream:
    """A convolution of stride 1. taps: float32 [taps, in, out], the earliest first; bias: float32 [out]."""

    def __init__(self, taps: Tensor, bias: Tensor, *, dilation: int, padding: Padding) -> None:
        self._taps = taps
        self._bias = bias
        self._dilation = dilation
        self._padding = padding
        self._reach = (len(taps) - 1) * dilation
        self._has_begun = False
        self._held: Tensor | None = None

    def push(self, x: Tensor, *, last: bool) -> Tensor:
        if self._held is not None:
            x = torch.cat([self._held, x])
        if last:
            x = self._padding.after(x) if self._has_begun else self._padding.around(x)
        elif not self._has_begun and len(x) >= self._padding.least:
            x = self._padding.before(x)
            self._has_begun = True
        settled = max(0, len(x) - self._reach) if last or self._has_begun else 0
        # Copied, or it would keep the whole piece alive.
        self._held = x[settled:].clone() if settled < len(x) else None
        return self._convolve(x, settled)

    def _convolve(self, x: Tensor, count: int) -> Tensor:
        starts = range(0, self._reach + 1, self._dilation)
        first, *others = (x[start : start + count].flatten(0, 1) for start in starts)
        y = torch.addmm(self._bias, first, self._taps[0])
        for steps, tap in zip(others, self._taps[1:], strict=True):
            y.addmm_(steps, tap)
        return y.view(count, x.shape[1], len(self._bias))


class InterleaveStream:
    """Each step becomes `factor` steps: [steps, rows, factor * out] -> [factor * steps, rows, out]. Of all of
    them, `left` are cut off at the beginning and `right` at the end."""

    def __init__(self, factor: int, *, left: int, right: int) -> None:
        self._factor = factor
        self._to_skip = left
        self._right = right

    def push(self, x: Tensor, *, last: bool) -> Tensor:
        steps, rows, features = x.shape
        y = x.view(steps, rows, self._factor, features // self._factor).transpose(1, 2).flatten(0, 1)
        skipped = min(self._to_skip, len(y))
        self._to_skip -= skipped
        return y[skipped : len(y) - self._right if last else len(y)]


class LstmStream:
    """A forward LSTM that carries its state; with `skip` its input is added to its output."""

    def __init__(self, lstm: nn.LSTM, *, skip: bool) -> None:
        self._lstm = lstm
        self._skip = skip
        self._state: State | None = None

    def push(self, x: Tensor, *, last: bool) -> Tensor:
        if not len(x):
            return x
        if self._state is None:
            zeros = x.new_zeros(self._lstm.num_layers, x.shape[1], self._lstm.hidden_size)
            self._state = zeros, zeros
        if x.device.type == "cpu" and len(x) < _FEW_STEPS:
            y, self._state = _run_by_steps(self._lstm, x, self._state)
        else:
            y, self._state = self._lstm(x, self._state)
        return y + x if self._skip else y


class ResidualStream:
    """block(x) + shortcut(x), where the block may look ahead and the shortcut does not."""

    def __init__(self, block: OpenLayer, shortcut: OpenLayer) -> None:
        self._block = block()
        self._shortcut = shortcut()
        self._held: Tensor | None = None

    def push(self, x: Tensor, *, last: bool) -> Tensor:
        y = self._block.push(x, last=last)
        skip = self._shortcut.push(x, last=last)
        if self._held is not None:
            skip = torch.cat([self._held, skip])
        self._held = skip[len(y) :].clone() if len(y) < len(skip) else None
        return y + skip[: len(y)]


class PointwiseStream:
    """What treats each value by itself, such as an activation."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function

    def push(self, x: Tensor, *, last: bool) -> Tensor:
        return self._function(x)


class ChainStream:
    """One layer after the other."""

    def __init__(self, layers: Sequence[OpenLayer]) -> None:
        self._layers = [open_layer() for open_layer in layers]

    def push(self, x: Tensor, *, last: bool) -> Tensor:
        for layer in self._layers:
            x = layer.push(x, last=last)
        return x


def convolution(weight: Tensor, bias: Tensor, *, dilation: int, padding: Padding) -> OpenLayer:
    """A convolution with torch's weight, [out, in, kernel]."""
    taps = weight.permute(2, 1, 0).contiguous()
    return partial(ConvolutionStream, taps, bias, dilation=dilation, padding=padding)


def transposed_convolution(weight: Tensor, bias: Tensor, *, stride: int, left: int) -> OpenLayer:
    """A transposed convolution with torch's weight, [in, out, taps * stride], that makes `stride` steps of each:
    `left` of the surplus steps are cut off at the beginning, the others at the end.

    It is a plain convolution that gives those `stride` steps as features.
    """
    taps = weight.shape[2] // stride
    phases = weight.reshape(*weight.shape[:2], taps, stride)
    matrices = phases.permute(2, 0, 3, 1).flip(0).flatten(2).contiguous()
    surplus = taps - 1
    convolve = partial(
        ConvolutionStream,
        matrices,
        bias.repeat(stride),
        dilation=1,
        padding=Padding(surplus, surplus, "constant"),
    )
    interleave = partial(InterleaveStream, stride, left=left, right=surplus * stride - left)
    return partial(ChainStream, [convolve, interleave])


def _run_by_steps(lstm: nn.LSTM, x: Tensor, state: State) -> tuple[Tensor, State]:
    """What `lstm` does, as products of matrices."""
    hidden, cells = [], []
    for (w_input, w_hidden, b_input, b_hidden), h, c in zip(lstm.all_weights, *state, strict=True):
        steps = []
        for drive in nn.functional.linear(x, w_input, b_input + b_hidden):
            i, f, g, o = torch.addmm(drive, h, w_hidden.t()).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            steps.append(h)
        x = torch.stack(steps)
        hidden.append(h)
        cells.append(c)
    return x, (torch.stack(hidden), torch.stack(cells))
