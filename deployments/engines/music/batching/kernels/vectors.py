"""The vector code of the kernels, written as LLVM instructions so that the order of every sum is fixed.

An output of a product is one chain of fused multiply-adds over its inputs in their order, a lane for each output:
nothing about it depends on how many rows are computed together, how wide the processor's vectors are, or what the
compiler thinks of reordering. A dot product adds in `LANES` lanes, then the lanes in halves.

Every function here is an intrinsic of numba: it takes addresses (int64) and counts (int64), and checks nothing.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
"""Floats of a vector: one of AVX-512, two of AVX2, four of NEON; the compiler splits them."""

FLOAT, I8, I32, I64 = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
INTS = ir.VectorType(I32, LANES)
BYTES = ir.VectorType(I8, LANES)


def _pointer(builder: Any, address: Any, type_: Any) -> Any:
    return builder.inttoptr(address, type_.as_pointer())


def _load(builder: Any, address: Any, type_: Any, align: int) -> Any:
    loaded = builder.load(_pointer(builder, address, type_))
    loaded.align = align
    return loaded


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, _pointer(builder, address, value.type)).align = 4


def _offset(builder: Any, address: Any, bytes_: int) -> Any:
    return builder.add(address, I64(bytes_)) if bytes_ else address


def _splat(builder: Any, scalar: Any, lanes: int = LANES) -> Any:
    undefined = ir.Constant(ir.VectorType(FLOAT, lanes), ir.Undefined)
    vector = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(vector, undefined, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    signature = ir.FunctionType(c.type, [c.type] * 3)
    name = f"llvm.fma.v{c.type.count}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), [a, b, c])


def _counted(
    builder: Any, count: Any, values: Sequence[Any], body: Callable[[Any, list[Any]], list[Any]]
) -> Any:
    """`for index in range(count): values = body(index, values)`, the values being kept in registers."""
    before, loop, after = (
        builder.block,
        builder.append_basic_block("loop"),
        builder.append_basic_block("after"),
    )
    builder.cbranch(builder.icmp_signed(">", count, I64(0)), loop, after)
    builder.position_at_end(loop)
    index = builder.phi(I64)
    index.add_incoming(I64(0), before)
    current = [builder.phi(value.type) for value in values]
    for phi, value in zip(current, values, strict=True):
        phi.add_incoming(value, before)
    following = body(index, current)
    next_index = builder.add(index, I64(1))
    end = builder.block
    index.add_incoming(next_index, end)
    for phi, value in zip(current, following, strict=True):
        phi.add_incoming(value, end)
    builder.cbranch(builder.icmp_signed("<", next_index, count), loop, after)
    builder.position_at_end(after)
    results = [builder.phi(value.type) for value in values]
    for phi, value, last in zip(results, values, following, strict=True):
        phi.add_incoming(value, before)
        phi.add_incoming(last, end)
    return results


def _weights_float32(builder: Any, address: Any) -> list[Any]:
    return [_load(builder, address, VECTOR, 4)]


def _weights_bfloat16(builder: Any, address: Any) -> list[Any]:
    """Two inputs' weights in each 32 bits, the earlier one in the low half."""
    pairs = _load(builder, address, INTS, 4)
    low = builder.shl(pairs, ir.Constant(INTS, [16] * LANES))
    high = builder.and_(pairs, ir.Constant(INTS, [0xFFFF0000] * LANES))
    return [builder.bitcast(low, VECTOR), builder.bitcast(high, VECTOR)]


def _weights_int8(builder: Any, address: Any) -> list[Any]:
    return [builder.sitofp(builder.sext(_load(builder, address, BYTES, 1), INTS), VECTOR)]


_READERS: dict[str, tuple[Callable[[Any, Any], list[Any]], int, int]] = {
    # reader, bytes of a vector of weights, inputs in it
    "float32": (_weights_float32, 4 * LANES, 1),
    "bfloat16": (_weights_bfloat16, 4 * LANES, 2),
    "int8": (_weights_int8, LANES, 1),
}


def make_tile(form: str, rows: int, vectors: int) -> Any:
    """An intrinsic: sums[rows, vectors * LANES] += x[rows, inputs] times weights[inputs, vectors * LANES].

    It takes (sums, row bytes of sums, x, row bytes of x, weights, bytes between weights, steps); in
    bfloat16 a step is two inputs.
    """
    read, vector_bytes, inputs = _READERS[form]

    @intrinsic
    def tile(
        typingctx: Any, sums: Any, sums_row: Any, x: Any, x_row: Any, w: Any, w_step: Any, steps: Any
    ) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            sums, sums_row, x, x_row, w, w_step, steps = arguments
            row_sums = [builder.add(sums, builder.mul(sums_row, I64(row))) for row in range(rows)]
            row_x = [builder.add(x, builder.mul(x_row, I64(row))) for row in range(rows)]
            places = [_offset(builder, at, 4 * LANES * v) for at in row_sums for v in range(vectors)]
            start = [_load(builder, place, VECTOR, 4) for place in places]

            def body(index: Any, totals: list[Any]) -> list[Any]:
                here = builder.add(w, builder.mul(index, w_step))
                at = builder.mul(index, I64(4 * inputs))
                weights = [read(builder, _offset(builder, here, v * vector_bytes)) for v in range(vectors)]
                totals = list(totals)
                for part in range(inputs):
                    for row in range(rows):
                        value = _load(
                            builder, _offset(builder, builder.add(row_x[row], at), 4 * part), FLOAT, 4
                        )
                        factor = _splat(builder, value)
                        for v in range(vectors):
                            place = row * vectors + v
                            totals[place] = _fma(builder, factor, weights[v][part], totals[place])
                return totals

            for place, total in zip(places, _counted(builder, steps, start, body), strict=True):
                _store(builder, total, place)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), code

    return tile


def make_dot(lanes: int) -> Any:
    """An intrinsic: the dot product of `vectors` * lanes floats at two addresses, float32."""
    type_ = ir.VectorType(FLOAT, lanes)

    @intrinsic
    def lane_dot(typingctx: Any, a: Any, b: Any, vectors: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, b, vectors = arguments

            def body(index: Any, totals: list[Any]) -> list[Any]:
                at = builder.mul(index, I64(4 * lanes))
                left = _load(builder, builder.add(a, at), type_, 4)
                right = _load(builder, builder.add(b, at), type_, 4)
                return [_fma(builder, left, right, totals[0])]

            (total,) = _counted(builder, vectors, [ir.Constant(type_, [0.0] * lanes)], body)
            return _sum_of_lanes(builder, total)

        return types.float32(types.int64, types.int64, types.int64), code

    return lane_dot


def _sum_of_lanes(builder: Any, total: Any) -> Any:
    """The halves added to each other, until one lane is left."""
    width = total.type.count
    while width > 1:
        width //= 2
        low = ir.Constant(ir.VectorType(I32, width), list(range(width)))
        high = ir.Constant(ir.VectorType(I32, width), list(range(width, 2 * width)))
        undefined = ir.Constant(total.type, ir.Undefined)
        total = builder.fadd(
            builder.shuffle_vector(total, undefined, low), builder.shuffle_vector(total, undefined, high)
        )
    return builder.extract_element(total, I32(0))


def make_weighted_sum(lanes: int) -> Any:
    """An intrinsic: out[lanes] = the sum of `count` rows of values[count, lanes], each times its weight. It takes
    (out, weights, values, bytes from row to row, count)."""
    type_ = ir.VectorType(FLOAT, lanes)

    @intrinsic
    def weighted_sum(typingctx: Any, out: Any, weights: Any, values: Any, value_row: Any, count: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            out, weights, values, value_row, count = arguments

            def body(index: Any, totals: list[Any]) -> list[Any]:
                weight = _load(builder, builder.add(weights, builder.mul(index, I64(4))), FLOAT, 4)
                row = _load(builder, builder.add(values, builder.mul(index, value_row)), type_, 4)
                return [_fma(builder, _splat(builder, weight, lanes), row, totals[0])]

            (total,) = _counted(builder, count, [ir.Constant(type_, [0.0] * lanes)], body)
            _store(builder, total, out)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), code

    return weighted_sum


@intrinsic
def float_from_bits(typingctx: Any, bits: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], FLOAT)

    return types.float32(types.int32), code


@intrinsic
def floats_at(typingctx: Any, address: Any) -> Any:
    """A pointer for `numba.carray`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _pointer(builder, arguments[0], FLOAT)

    return types.CPointer(types.float32)(types.int64), code


@intrinsic
def fetch_add(typingctx: Any, address: Any) -> Any:
    """Add one to an int64 that threads share; what it was."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", _pointer(builder, arguments[0], I64), I64(1), "seq_cst")

    return types.int64(types.int64), code


@intrinsic
def fetch(typingctx: Any, address: Any) -> Any:
    """An int64 that threads share, and with it all that was written before it was counted up."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_pointer(builder, arguments[0], I64), "seq_cst", 8)

    return types.int64(types.int64), code


@intrinsic
def pause(typingctx: Any) -> Any:
    """What a processor wants to see in a loop that waits."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if platform.machine() in ("x86_64", "AMD64"):
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, nothing, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), code
