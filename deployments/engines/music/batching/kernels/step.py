"""One position further for all takes of a batch, by any number of threads at once.

The step is a row of stages. A stage is cut into turns (a panel of outputs, a head of a row) that threads take from
a shared counter, and is over when all its turns are counted as done. So no thread waits for one that has not come
yet, and which thread takes a turn changes no bit.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# The types of kernels are numba's: those of the call, or of the signature.

from __future__ import annotations

import numpy as np
from numba import carray, types

from deployments.engines.music.batching.kernels.arithmetic import attend, gelu, multiply_panel, normalise
from deployments.engines.music.batching.kernels.compiling import entry_point, kernel
from deployments.engines.music.batching.kernels.vectors import fetch, fetch_add, floats_at, pause

QKV, OUT, CROSS_Q, CROSS_OUT, UP, DOWN, HEAD = range(7)
"""The products of a layer, and the one after all layers."""

STAGES_OF_A_LAYER = 8
COUNTER = 8
"""int64s from one counter to the next, so that each has a line of the cache for itself."""
MOST_PANEL = 64

_SPINS = 2000
_yield_processor = types.ExternalFunction("sched_yield", types.int32())


@kernel
def next_turn(counters, stage):
    return fetch_add(counters.ctypes.data + (2 * stage) * COUNTER * 8)


@kernel
def finish_turn(counters, stage):
    fetch_add(counters.ctypes.data + (2 * stage + 1) * COUNTER * 8)


@kernel
def wait_for(counters, stage, turns):
    """Until all turns of a stage are done."""
    done, spins = counters.ctypes.data + (2 * stage + 1) * COUNTER * 8, 0
    while fetch(done) < turns:
        pause()
        spins += 1
        if spins > _SPINS:
            _yield_processor()


@kernel
def _norm_rows(x, rows, ones, norm, eps, normed):
    """The given rows of x, one below the other."""
    for index in range(rows.shape[0]):
        normalise(x[rows[index]], ones, norm[0], norm[1], eps, normed[index])


@kernel
def _panel(form, shape, weights, turn, x, x_row, rows, sums):
    """One turn of a product with scale and bias; how many of its outputs are none of the padding."""
    inputs, outputs, width, panel_bytes = shape[0], shape[1], shape[2], shape[3]
    multiply_panel(form, width, weights[0] + turn * panel_bytes, x, x_row, rows, inputs, sums.ctypes.data)
    first = turn * width
    wanted = min(width, outputs - first)
    if weights[2] != 0:
        scale = carray(floats_at(weights[2]), outputs)
        for row in range(rows):
            for index in range(wanted):
                sums[row * width + index] *= scale[first + index]
    if weights[1] != 0:
        bias = carray(floats_at(weights[1]), outputs)
        for row in range(rows):
            for index in range(wanted):
                sums[row * width + index] += bias[first + index]
    return wanted


@kernel
def _scatter(sums, width, wanted, first, layer, row_table, heads, head_dim, q):
    """Queries into their rows, keys and values into the caches, at each row's own position."""
    d = heads * head_dim
    for row in range(row_table.shape[0]):
        kv, layer_bytes, length, position = (
            row_table[row, 0],
            row_table[row, 1],
            row_table[row, 2],
            row_table[row, 3],
        )
        index = 0
        while index < wanted:
            part, within = divmod(first + index, d)
            head, at = divmod(within, head_dim)
            run = min(head_dim - at, wanted - index)
            if part == 0:
                for offset in range(run):
                    q[row, within + offset] = sums[row * width + index + offset]
            else:
                place = (((part - 1) * heads + head) * length + position) * head_dim + at
                target = carray(floats_at(kv + layer * layer_bytes + place * 4), run)
                for offset in range(run):
                    target[offset] = sums[row * width + index + offset]
            index += run


@kernel
def _add(sums, width, wanted, first, rows, x):
    for index in range(rows.shape[0]):
        for column in range(wanted):
            x[rows[index], first + column] += sums[index * width + column]


@entry_point(
    "void(int64, int64[::1], int64[::1], int64[:, ::1], int64[:, :, ::1], float32[:, :, ::1], float32[::1],"
    "int64[:, ::1], int64[:, ::1], int64[:, ::1], float32[:, ::1], float32[:, ::1],"
    "float32[:, ::1], float32[:, ::1], float32[:, ::1], float32[:, ::1], float32[:, ::1])"
)
def run_step(
    form,  # of the weights
    counters,  # zeros, two a stage
    sizes,  # layers, heads, head_dim, 1 with cross-attention, longest past or text of all
    shapes,  # [product, (inputs, outputs, panel width, panel bytes)]
    weights,  # [layer, product, (panels, bias, scale)]: addresses, 0 for none
    norms,  # [3 * layer + (self, cross, mlp), (weight, bias), d]; one more at the end
    epsilons,  # of each norm
    row_table,  # [row, (first layer's keys and values, bytes to the next layer, length, position)]
    take_table,  # [take, (conditional row, first layer's text, bytes to the next layer, tokens)]
    tokens,  # [row, codebook], as rows of `embedding`
    embedding,
    positions,  # [position, d]
    x,  # the rest are workspaces: [rows, d]
    q,  # [rows, d]
    read,  # [rows, d]
    hidden,  # [rows, hidden]
    logits,  # [rows, codebooks * card]: the result
):
    layers, heads, head_dim, has_text, longest = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    rows, takes, d = row_table.shape[0], take_table.shape[0], heads * head_dim
    ones = np.ones(d, np.float32)
    normed = np.empty((rows, d), np.float32)
    sums = np.empty(rows * MOST_PANEL, np.float32)
    scratch = np.empty(MOST_PANEL, np.float32)
    scores = np.empty(longest, np.float32)
    all_rows = np.arange(rows)
    conditional = take_table[:, 0].copy()
    d_bytes = d * 4

    stage = np.int64(0)
    turn = next_turn(counters, stage)
    while turn < rows:
        at = row_table[turn, 3]
        for column in range(d):
            x[turn, column] = positions[at, column]
        for codebook in range(tokens.shape[1]):
            token = tokens[turn, codebook]
            for column in range(d):
                x[turn, column] += embedding[token, column]
        finish_turn(counters, stage)
        turn = next_turn(counters, stage)
    wait_for(counters, stage, rows)
    stage += 1

    for layer in range(layers):
        # Queries, keys and values.
        shape, weight = shapes[QKV], weights[layer, QKV]
        panels = -(-shape[1] // shape[2])
        turn = next_turn(counters, stage)
        if turn < panels:
            _norm_rows(x, all_rows, ones, norms[3 * layer], epsilons[3 * layer], normed)
        while turn < panels:
            wanted = _panel(form, shape, weight, turn, normed.ctypes.data, d_bytes, rows, sums)
            _scatter(sums, shape[2], wanted, turn * shape[2], layer, row_table, heads, head_dim, q)
            finish_turn(counters, stage)
            turn = next_turn(counters, stage)
        wait_for(counters, stage, panels)
        stage += 1

        # Attention: each head of each row over its own past.
        turn = next_turn(counters, stage)
        while turn < rows * heads:
            row, head = divmod(turn, heads)
            length, past = row_table[row, 2], row_table[row, 3] + 1
            keys = row_table[row, 0] + layer * row_table[row, 1] + head * length * head_dim * 4
            values = keys + heads * length * head_dim * 4
            at = row * d_bytes + head * head_dim * 4
            attend(q.ctypes.data + at, keys, values, past, head_dim, scores, read.ctypes.data + at)
            finish_turn(counters, stage)
            turn = next_turn(counters, stage)
        wait_for(counters, stage, rows * heads)
        stage += 1

        shape, weight = shapes[OUT], weights[layer, OUT]
        panels = -(-shape[1] // shape[2])
        turn = next_turn(counters, stage)
        while turn < panels:
            wanted = _panel(form, shape, weight, turn, read.ctypes.data, d_bytes, rows, sums)
            _add(sums, shape[2], wanted, turn * shape[2], all_rows, x)
            finish_turn(counters, stage)
            turn = next_turn(counters, stage)
        wait_for(counters, stage, panels)
        stage += 1

        if has_text:
            # The conditional rows read the text; without conditions it is zero, and so is what comes of it.
            shape, weight = shapes[CROSS_Q], weights[layer, CROSS_Q]
            panels = -(-shape[1] // shape[2])
            turn = next_turn(counters, stage)
            if turn < panels:
                _norm_rows(x, conditional, ones, norms[3 * layer + 1], epsilons[3 * layer + 1], normed)
            while turn < panels:
                wanted = _panel(form, shape, weight, turn, normed.ctypes.data, d_bytes, takes, sums)
                for take in range(takes):
                    for column in range(wanted):
                        q[take, turn * shape[2] + column] = sums[take * shape[2] + column]
                finish_turn(counters, stage)
                turn = next_turn(counters, stage)
            wait_for(counters, stage, panels)
            stage += 1

            turn = next_turn(counters, stage)
            while turn < takes * heads:
                take, head = divmod(turn, heads)
                words = take_table[take, 3]
                keys = take_table[take, 1] + layer * take_table[take, 2] + head * words * head_dim * 4
                values = keys + heads * words * head_dim * 4
                at = take * d_bytes + head * head_dim * 4
                attend(q.ctypes.data + at, keys, values, words, head_dim, scores, read.ctypes.data + at)
                finish_turn(counters, stage)
                turn = next_turn(counters, stage)
            wait_for(counters, stage, takes * heads)
            stage += 1

            shape, weight = shapes[CROSS_OUT], weights[layer, CROSS_OUT]
            panels = -(-shape[1] // shape[2])
            turn = next_turn(counters, stage)
            while turn < panels:
                wanted = _panel(form, shape, weight, turn, read.ctypes.data, d_bytes, takes, sums)
                _add(sums, shape[2], wanted, turn * shape[2], conditional, x)
                finish_turn(counters, stage)
                turn = next_turn(counters, stage)
            wait_for(counters, stage, panels)
            stage += 1

        shape, weight = shapes[UP], weights[layer, UP]
        panels = -(-shape[1] // shape[2])
        turn = next_turn(counters, stage)
        if turn < panels:
            _norm_rows(x, all_rows, ones, norms[3 * layer + 2], epsilons[3 * layer + 2], normed)
        while turn < panels:
            wanted = _panel(form, shape, weight, turn, normed.ctypes.data, d_bytes, rows, sums)
            for row in range(rows):
                row_sums = sums[row * shape[2] : row * shape[2] + wanted]
                gelu(row_sums, scratch)
                for column in range(wanted):
                    hidden[row, turn * shape[2] + column] = row_sums[column]
            finish_turn(counters, stage)
            turn = next_turn(counters, stage)
        wait_for(counters, stage, panels)
        stage += 1

        shape, weight = shapes[DOWN], weights[layer, DOWN]
        panels = -(-shape[1] // shape[2])
        turn = next_turn(counters, stage)
        while turn < panels:
            wanted = _panel(form, shape, weight, turn, hidden.ctypes.data, shape[0] * 4, rows, sums)
            _add(sums, shape[2], wanted, turn * shape[2], all_rows, x)
            finish_turn(counters, stage)
            turn = next_turn(counters, stage)
        wait_for(counters, stage, panels)
        stage += 1

    shape, weight = shapes[HEAD], weights[0, HEAD]
    panels = -(-shape[1] // shape[2])
    turn = next_turn(counters, stage)
    if turn < panels:
        _norm_rows(x, all_rows, ones, norms[3 * layers], epsilons[3 * layers], normed)
    while turn < panels:
        wanted = _panel(form, shape, weight, turn, normed.ctypes.data, d_bytes, rows, sums)
        for row in range(rows):
            for column in range(wanted):
                logits[row, turn * shape[2] + column] = sums[row * shape[2] + column]
        finish_turn(counters, stage)
        turn = next_turn(counters, stage)
    wait_for(counters, stage, panels)


def stages(layers: int) -> int:
    return 2 + STAGES_OF_A_LAYER * layers
