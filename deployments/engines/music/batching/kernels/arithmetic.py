"""The kernels of a step, each beside its twin: the same function in plain numpy, which the tests compare it with.

All values between products are float32. Kernels take addresses; `rows` are R rows of a step, D a head's width.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# The types of kernels are numba's: those of the call, or of the signature.

from __future__ import annotations

import math

import numpy as np
from llvmlite import binding
from numba import carray
from numpy.typing import NDArray

from deployments.engines.music.batching.kernels.compiling import kernel
from deployments.engines.music.batching.kernels.vectors import (
    LANES,
    float_from_bits,
    floats_at,
    make_dot,
    make_tile,
    make_weighted_sum,
)

Floats = NDArray[np.float32]

FLOAT32, BFLOAT16, INT8 = 0, 1, 2
"""How weights are stored."""

MOST_TILE_ROWS = 4 if binding.get_host_cpu_features().get("avx512f") else 1
"""As many rows of sums at once as the processor's registers hold."""
_BLOCK_INPUTS = 64
"""Inputs whose weights stay in the first cache while all rows are multiplied with them."""

_float32_wide_1, _float32_wide_2, _float32_wide_4 = (make_tile("float32", rows, 4) for rows in (1, 2, 4))
_bfloat16_wide_1, _bfloat16_wide_2, _bfloat16_wide_4 = (make_tile("bfloat16", rows, 4) for rows in (1, 2, 4))
_bfloat16_half_1, _bfloat16_half_2, _bfloat16_half_4 = (make_tile("bfloat16", rows, 2) for rows in (1, 2, 4))
_int8_wide_1, _int8_wide_2, _int8_wide_4 = (make_tile("int8", rows, 4) for rows in (1, 2, 4))
_dot_16, _dot_4 = make_dot(LANES), make_dot(4)
_weighted_sum_16, _weighted_sum_4 = make_weighted_sum(LANES), make_weighted_sum(4)


@kernel
def _tile(form, rows, sums, sums_row, x, x_row, w, steps):
    """sums[rows, 64] += x[rows, inputs] times 64 outputs' weights; `form` + 3 is a panel of 32 outputs."""
    if form == FLOAT32:
        if rows == 1:
            _float32_wide_1(sums, sums_row, x, x_row, w, 256, steps)
        elif rows == 2:
            _float32_wide_2(sums, sums_row, x, x_row, w, 256, steps)
        else:
            _float32_wide_4(sums, sums_row, x, x_row, w, 256, steps)
    elif form == BFLOAT16:
        if rows == 1:
            _bfloat16_wide_1(sums, sums_row, x, x_row, w, 256, steps)
        elif rows == 2:
            _bfloat16_wide_2(sums, sums_row, x, x_row, w, 256, steps)
        else:
            _bfloat16_wide_4(sums, sums_row, x, x_row, w, 256, steps)
    elif form == INT8:
        if rows == 1:
            _int8_wide_1(sums, sums_row, x, x_row, w, 64, steps)
        elif rows == 2:
            _int8_wide_2(sums, sums_row, x, x_row, w, 64, steps)
        else:
            _int8_wide_4(sums, sums_row, x, x_row, w, 64, steps)
    elif rows == 1:
        _bfloat16_half_1(sums, sums_row, x, x_row, w, 128, steps)
    elif rows == 2:
        _bfloat16_half_2(sums, sums_row, x, x_row, w, 128, steps)
    else:
        _bfloat16_half_4(sums, sums_row, x, x_row, w, 128, steps)


@kernel
def multiply_panel(form, width, panel, x, x_row, rows, inputs, sums):
    """One panel of a product: sums float32[rows, width] = x[rows, inputs] W^T, without scale or bias.

    `panel` is the address of `packing.pack`'s [inputs, width]; `x_row` the bytes from row to row of x.
    """
    zeroed = carray(floats_at(sums), rows * width)
    for index in range(rows * width):
        zeroed[index] = np.float32(0.0)
    tile_form = form if width == 64 else form + 3
    input_bytes = width if form == INT8 else (2 * width if form == BFLOAT16 else 4 * width)
    inputs_a_step = 2 if form == BFLOAT16 else 1
    for first in range(0, inputs, _BLOCK_INPUTS):
        count = min(_BLOCK_INPUTS, inputs - first)
        row = 0
        while row < rows:
            left = rows - row
            together = (
                MOST_TILE_ROWS if left >= MOST_TILE_ROWS else (2 if left >= 2 and MOST_TILE_ROWS > 1 else 1)
            )
            _tile(
                tile_form,
                together,
                sums + row * width * 4,
                width * 4,
                x + row * x_row + first * 4,
                x_row,
                panel + first * input_bytes,
                count // inputs_a_step,
            )
            row += together


def multiply_twin(x: Floats, weight: Floats) -> Floats:
    """x [rows, inputs], weight [outputs, inputs] as it is stored, without its scale -> [rows, outputs]"""
    return (x.astype(np.float64) @ weight.astype(np.float64).T).astype(np.float32)


@kernel
def dot(a, b, count):
    """The dot product of `count` floats at two addresses."""
    whole = count // LANES * LANES
    total = _dot_16(a, b, whole // LANES)
    if count > whole:
        total += _dot_4(a + whole * 4, b + whole * 4, (count - whole) // 4)
        done = count // 4 * 4
        if count > done:
            left, right = carray(floats_at(a), count), carray(floats_at(b), count)
            for index in range(done, count):
                total += left[index] * right[index]
    return total


def dot_twin(a: Floats, b: Floats) -> np.float32:
    return np.float32(np.dot(a.astype(np.float64), b.astype(np.float64)))


@kernel
def normalise(x, ones, weight, bias, eps, out):
    """Layer normalisation of one row; all [d], `ones` of ones."""
    width = x.shape[0]
    mean = dot(x.ctypes.data, ones.ctypes.data, width) / np.float32(width)
    for index in range(width):
        out[index] = x[index] - mean
    variance = dot(out.ctypes.data, out.ctypes.data, width) / np.float32(width)
    scale = np.float32(1.0) / np.sqrt(variance + eps)
    for index in range(width):
        out[index] = out[index] * scale * weight[index] + bias[index]


def normalise_twin(x: Floats, weight: Floats, bias: Floats, eps: float) -> Floats:
    centred = x - x.mean(dtype=np.float64)
    normed = centred / np.sqrt(np.square(centred).mean() + eps) * weight + bias
    return np.asarray(normed, np.float32)


_LOG2_E = np.float32(1.44269504088896341)
_LN_2_HIGH, _LN_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_E0, _E1, _E2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_E3, _E4, _E5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_LOWEST_EXPONENT = np.float32(-87.0)
_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1.0), np.float32(0.0)


@kernel
def exponentials(x, count, less):
    """x = e^(x - less) in place, for the first `count`, none of which is above `less`.

    Cephes' polynomial, each value for itself: vectors of any width give the same bits.
    """
    for index in range(count):
        value = max(x[index] - less, _LOWEST_EXPONENT)
        power = np.floor(value * _LOG2_E + _HALF)
        rest = value - power * _LN_2_HIGH - power * _LN_2_LOW
        series = ((((_E0 * rest + _E1) * rest + _E2) * rest + _E3) * rest + _E4) * rest + _E5
        series = series * rest * rest + rest + _ONE
        x[index] = series * float_from_bits((np.int32(power) + np.int32(127)) << np.int32(23))


def exponentials_twin(x: Floats, less: float) -> Floats:
    return np.exp((x - np.float32(less)).astype(np.float64)).astype(np.float32)


_ROOT_HALF = np.float32(math.sqrt(0.5))
_P = np.float32(0.3275911)
_A1, _A2, _A3 = np.float32(0.254829592), np.float32(-0.284496736), np.float32(1.421413741)
_A4, _A5 = np.float32(-1.453152027), np.float32(1.061405429)


@kernel
def gelu(x, scratch):
    """x = x * Phi(x) in place; the error function by Abramowitz and Stegun 7.1.26, within 1.5e-7."""
    for index in range(x.shape[0]):
        scaled = x[index] * _ROOT_HALF
        scratch[index] = -scaled * scaled
    exponentials(scratch, x.shape[0], _ZERO)
    for index in range(x.shape[0]):
        value = x[index]
        t = _ONE / (_ONE + _P * abs(value * _ROOT_HALF))
        tail = ((((_A5 * t + _A4) * t + _A3) * t + _A2) * t + _A1) * t * scratch[index]
        error = _ONE - tail if value >= _ZERO else tail - _ONE
        x[index] = _HALF * value * (_ONE + error)


def gelu_twin(x: Floats) -> Floats:
    return np.array([0.5 * v * (1.0 + math.erf(v / math.sqrt(2.0))) for v in x.tolist()], np.float32)


@kernel
def attend(q, keys, values, positions, width, scores, out):
    """What one head of one row reads: out[D] = softmax(q K^T / sqrt(D)) V over its own positions.

    q and out: addresses of float32[D]; keys and values: of float32[positions, D]; `scores` has room for them.
    """
    scale = np.float32(1.0 / math.sqrt(width))
    most = np.float32(-np.inf)
    for position in range(positions):
        score = dot(q, keys + position * width * 4, width) * scale
        scores[position] = score
        most = max(most, score)
    exponentials(scores, positions, most)
    total = np.float32(0.0)
    for position in range(positions):
        total += scores[position]
    result = carray(floats_at(out), width)
    weights, column = scores.ctypes.data, 0
    if width >= 4 * LANES:
        for index in range(width // (4 * LANES) * (4 * LANES)):
            result[index] = np.float32(0.0)
        while column + 4 * LANES <= width:
            _float32_wide_1(out + column * 4, 0, weights, 0, values + column * 4, width * 4, positions)
            column += 4 * LANES
    while column + LANES <= width:
        _weighted_sum_16(out + column * 4, weights, values + column * 4, width * 4, positions)
        column += LANES
    while column + 4 <= width:
        _weighted_sum_4(out + column * 4, weights, values + column * 4, width * 4, positions)
        column += 4
    if column < width:
        read = carray(floats_at(values), positions * width)
        for index in range(column, width):
            result[index] = np.float32(0.0)
        for position in range(positions):
            for index in range(column, width):
                result[index] += scores[position] * read[position * width + index]
    share = np.float32(1.0) / total
    for index in range(width):
        result[index] *= share


def attend_twin(q: Floats, keys: Floats, values: Floats) -> Floats:
    scores = keys.astype(np.float64) @ q.astype(np.float64) / math.sqrt(len(q))
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum() @ values.astype(np.float64), np.float32)
