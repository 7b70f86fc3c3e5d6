from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.music.batching.linear import Precision, linear_maker, settle, steady_rows

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")
MOST = 16
SHAPES = [(32, 96), (128, 32), (1024, 1024), (4096, 1024)]


def _weight(inputs: int, outputs: int) -> Tensor:
    return torch.randn((outputs, inputs), generator=torch.Generator().manual_seed(1)) / inputs**0.5


def _rows(count: int, inputs: int) -> Tensor:
    return torch.randn((count, inputs), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("precision", "within"), [(Precision.FLOAT32, 1e-5), (Precision.BFLOAT16, 0.02), (Precision.INT8, 0.02)]
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_product_it_says(shape: tuple[int, int], precision: Precision, within: float) -> None:
    weight, x = _weight(*shape), _rows(5, shape[0])
    expected = x @ weight.T
    linear = linear_maker(CPU, precision)(weight, None)
    assert (linear(x) - expected).norm() <= within * expected.norm()
    gelu = torch.nn.functional.gelu(expected)
    assert (linear(x, gelu=True) - gelu).norm() <= 2 * within * gelu.norm()


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16, Precision.INT8])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_once_settled_a_rows_bits_do_not_depend_on_the_others(
    shape: tuple[int, int], precision: Precision
) -> None:
    linear = linear_maker(CPU, precision)(_weight(*shape), None)
    settle([linear], MOST)
    x = _rows(MOST, shape[0])
    whole = linear(x)
    for count in range(1, MOST + 1):
        start = (7 * count) % (MOST - count + 1)
        assert torch.equal(linear(x[start : start + count]), whole[start : start + count])


def test_a_kernel_that_never_settles_is_always_given_all_rows() -> None:
    class Moody:
        in_features, out_features, rows_at_least = 4, 4, 1

        def __call__(self, x: Tensor, *, gelu: bool = False) -> Tensor:
            return x + len(x)

    class Picky(Moody):
        def __call__(self, x: Tensor, *, gelu: bool = False) -> Tensor:
            return x + (len(x) < 3)

    assert steady_rows(Moody(), MOST) == MOST
    assert steady_rows(Picky(), MOST) == 3


def test_a_bias_is_added() -> None:
    weight, bias, x = _weight(32, 96), torch.arange(96.0), _rows(3, 32)
    for precision in (Precision.FLOAT32, Precision.INT8):
        linear = linear_maker(CPU, precision)(weight, bias)
        torch.testing.assert_close(linear(x), x @ weight.T + bias, atol=0.2, rtol=0)


def test_int8_is_not_for_gpus() -> None:
    with pytest.raises(ModelUnavailable, match="CPU"):
        linear_maker(torch.device("meta"), Precision.INT8)(_weight(32, 96), None)
