from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from deployments.engines.analysis.pitch.spectral_convolution import SpectralConvolution

pytestmark = pytest.mark.torch


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Of a row and a kernel: length, kernel, centre, stride."""
    stride = draw(st.integers(1, 4))
    length = stride * draw(st.integers(1, 40))
    kernel = draw(st.integers(1, 80))
    return length, kernel, draw(st.integers(0, kernel - 1)), stride


@given(shapes(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**32))
def test_it_is_torchs_convolution(
    shape: tuple[int, int, int, int], rows: int, inputs: int, outputs: int, seed: int
) -> None:
    length, kernel, centre, stride = shape
    dice = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, inputs, length, generator=dice)
    weight = torch.randn(outputs, inputs, kernel, generator=dice)
    bias = torch.randn(outputs, generator=dice)
    wanted = functional.conv1d(functional.pad(x, (centre, kernel - 1 - centre)), weight, bias, stride)
    convolve = SpectralConvolution(weight, bias, length=length, centre=centre, stride=stride)
    heard = convolve(x.permute(2, 0, 1)).permute(1, 2, 0)
    assert heard.shape == wanted.shape
    torch.testing.assert_close(heard, wanted, rtol=1e-5, atol=1e-4)


def test_a_stride_that_leaves_a_rest_is_refused() -> None:
    with pytest.raises(ValueError, match="10 positions"):
        SpectralConvolution(torch.ones(1, 1, 3), torch.zeros(1), length=10, centre=1, stride=4)
