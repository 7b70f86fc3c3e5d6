"""What Python calls: the weights and buffers of a step as tables of addresses, and threads that share a step."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deployments.engines.music.batching.kernels import drawing, step
from deployments.engines.music.batching.kernels.arithmetic import BFLOAT16, FLOAT32, INT8
from deployments.engines.music.batching.kernels.compiling import version
from deployments.engines.music.protocol import Sampling

if TYPE_CHECKING:
    from deployments.engines.music.batching.decoder import Decoder, Layout, Norm
    from deployments.engines.music.batching.linear import PanelWeights

_FORMS = {np.dtype(np.float32): FLOAT32, np.dtype(np.int16): BFLOAT16, np.dtype(np.int8): INT8}

_SHARED_FROM_BYTES = 4 * 2**20
"""Weights of a step from which on a second thread saves more than waking it costs."""

Integers = NDArray[np.int64]


class Tables:
    """The rows and takes of a layout as the kernels see them, and their workspaces."""

    def __init__(self, decoder: Decoder, layout: Layout) -> None:
        rows, takes, offsets = [], [], []
        for take, (start, end, cache) in enumerate(layout.spans):
            layer_bytes = cache.kv.stride(0) * 4
            row_bytes = cache.kv.stride(1) * 4
            for row in range(end - start):
                rows.append((cache.kv.data_ptr() + row * row_bytes, layer_bytes, cache.length, 0))
                offsets.append(take)
            text = (0, 0, 0)
            if cache.text is not None:
                keys = cache.text[0][0]  # [1, H, tokens, D]
                text = (keys.data_ptr(), 2 * keys.numel() * 4, keys.shape[2])
            takes.append((start, *text))
        self.caches = [cache for _, _, cache in layout.spans]
        self.rows: Integers = np.array(rows, np.int64)
        self.takes: Integers = np.array(takes, np.int64)
        self.take_of_row: Integers = np.array(offsets, np.int64)
        count = len(rows)
        self.x, self.q, self.read = (np.zeros((count, decoder.width), np.float32) for _ in range(3))
        self.hidden = np.zeros((count, decoder.blocks[0].up.out_features), np.float32)


class Drawing(Protocol):
    """What drawing a token needs to know of a take."""

    @property
    def sampling(self) -> Sampling: ...

    @property
    def draws_made(self) -> int: ...


class StepKernels:
    """A decoder's step on its own weights; for any number of layouts, one step at a time."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        layers = [
            [
                block.qkv,
                block.out,
                *((block.cross.q, block.cross.out) if block.cross else (None, None)),
                block.up,
                block.down,
            ]
            for block in decoder.blocks
        ]
        head = decoder.head.panels()
        products = [[None if linear is None else linear.panels() for linear in layer] for layer in layers]
        rows = [[*layer, head if index == 0 else None] for index, layer in enumerate(products)]
        self._keep = rows
        self._form = _FORMS[head.panels.data.dtype]
        self._weights: Integers = np.array([[_addresses(each) for each in row] for row in rows], np.int64)
        self._shapes: Integers = np.array([_shape(each) for each in rows[0]], np.int64)
        for row in rows[1:]:
            for each, shape in zip(row, self._shapes, strict=True):
                if each is not None and tuple(shape) != _shape(each):
                    raise ValueError("the layers' products have different shapes")
        norms: list[Norm] = []
        for block in decoder.blocks:
            norms += [block.norm_self, block.cross.norm if block.cross else block.norm_self, block.norm_mlp]
        norms.append(decoder.norm_out)
        self._norms = np.stack([torch.stack([norm.weight, norm.bias]).numpy() for norm in norms])
        self._epsilons = np.array([norm.eps for norm in norms], np.float32)
        self._has_text = decoder.blocks[0].cross is not None
        weight_bytes = sum(each.panels.data.nbytes for row in rows for each in row if each is not None)
        self._is_worth_sharing = weight_bytes >= _SHARED_FROM_BYTES
        self._offsets = decoder.embedding_offset.numpy()
        self._embedding = decoder.embedding.contiguous().numpy()

    @property
    def version(self) -> str:
        return version()

    def step(self, tokens: Tensor, layout: Layout) -> Tensor:
        """As `Decoder.step`."""
        decoder = self._decoder
        tables = layout.tables
        if tables is None:
            tables = layout.tables = Tables(decoder, layout)
        used = np.array([cache.used for cache in tables.caches], np.int64)
        tables.rows[:, 3] = used[tables.take_of_row]
        longest = max(int(used.max()) + 1, int(tables.takes[:, 3].max()))
        sizes = np.array([decoder.layers, decoder.heads, decoder.head_dim, self._has_text, longest], np.int64)
        logits = np.empty((layout.rows, decoder.codebooks * decoder.card), np.float32)
        counters = np.zeros(2 * step.COUNTER * step.stages(decoder.layers), np.int64)
        arguments = (
            self._form,
            counters,
            sizes,
            self._shapes,
            self._weights,
            self._norms,
            self._epsilons,
            tables.rows,
            tables.takes,
            (tokens.numpy() + self._offsets)[tables.take_of_row],
            self._embedding,
            decoder.positions.numpy(),
            tables.x,
            tables.q,
            tables.read,
            tables.hidden,
            logits,
        )
        threads = torch.get_num_threads() if self._is_worth_sharing else 1
        _helpers.share(threads, lambda: step.run_step(*arguments))
        for cache in tables.caches:
            cache.used += 1
        return torch.from_numpy(logits).view(layout.rows, decoder.codebooks, decoder.card)

    def draw(self, logits: Tensor, rows: Sequence[tuple[int, int]], takes: Sequence[Drawing]) -> Tensor:
        """A token for each codebook of each take, which has the logits' rows from the first number up to the
        second: float32 [R, K, card] -> int64 [takes, K]. For takes without top_p."""
        card, codebooks = self._decoder.card, self._decoder.codebooks
        counters, settings = [], []
        for (start, end), take in zip(rows, takes, strict=True):
            sampling = take.sampling
            top_k = card if sampling.top_k == 0 else min(sampling.top_k, card)
            counters.append((start, end - 1, top_k, sampling.seed, take.draws_made))
            is_greedy = sampling.temperature == 0.0
            settings.append((sampling.cfg_coef, 1.0 if is_greedy else sampling.temperature, not is_greedy))
        drawn = np.empty((len(takes), codebooks), np.int64)
        drawing.draw(
            logits.reshape(-1, codebooks * card).numpy(),
            np.array(counters, np.int64),
            np.array(settings, np.float32),
            codebooks,
            drawn,
        )
        return torch.from_numpy(drawn)


class _Helpers:
    """Threads of the process that any engine's step may be shared with. A step does not depend on them: one that
    comes late finds nothing left to do."""

    def __init__(self) -> None:
        self._inboxes: list[SimpleQueue[Callable[[], Any]]] = []
        self._starting = threading.Lock()

    def share(self, threads: int, work: Callable[[], Any]) -> None:
        """Do the work in this thread, and with up to `threads` - 1 others that do it as well."""
        for index in range(threads - 1):
            self._inbox(index).put(work)
        work()

    def _inbox(self, index: int) -> SimpleQueue[Callable[[], Any]]:
        with self._starting:
            while index >= len(self._inboxes):
                inbox: SimpleQueue[Callable[[], Any]] = SimpleQueue()
                self._inboxes.append(inbox)
                threading.Thread(
                    target=_work_off, args=(inbox,), name=f"step helper {index}", daemon=True
                ).start()
            return self._inboxes[index]


def _work_off(inbox: SimpleQueue[Callable[[], Any]]) -> None:
    while True:
        work = inbox.get()
        work()
        del work


_helpers = _Helpers()


def _addresses(weights: PanelWeights | None) -> tuple[int, int, int]:
    if weights is None:
        return 0, 0, 0
    bias, scale = weights.bias, weights.scale
    return (
        weights.panels.data.ctypes.data,
        0 if bias is None else bias.data_ptr(),
        0 if scale is None else scale.data_ptr(),
    )


def _shape(weights: PanelWeights | None) -> tuple[int, int, int, int]:
    if weights is None:
        return 0, 0, 0, 0
    panels = weights.panels
    return panels.inputs, panels.outputs, panels.width, panels.panel_bytes
