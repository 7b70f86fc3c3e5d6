"""Steps for a GPU: everything that a step reads and writes has its place on the device for good, so that a step can
be captured once and replayed as one call.

Takes sit in slots. A step is over the first `batch` slots and the first `length` positions, both from a short
list of sizes (buckets), and each pair of sizes is captured once. Where a slot is in its take, its newest column,
the columns that it must make and its place in the random stream are tensors: a replay needs nothing from the host,
and gives back one tensor of tokens.

The step is a plain function of those tensors. A `Recorder` decides what becomes of it: a CUDA graph, or the
function itself on a device without graphs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from deployments.engines.common.errors import EngineBusy
from deployments.engines.music.batching.decoder import Cache, Decoder
from deployments.engines.music.batching.philox import gumbel_at
from deployments.engines.music.batching.sampling import SamplingRows, choose
from deployments.engines.music.batching.sequence import UNKNOWN, TokenSequence
from deployments.engines.music.batching.stepper import EagerStepper, Stepping

logger = logging.getLogger(__name__)

Step = Callable[[], None]

ROWS = 2
"""Of a slot: the conditional row and the one without conditions, which a take without guidance leaves unread."""
_SHORTEST = 256
_FIRST_TEXT = 32
_MOST_COLUMNS = 4096


class Recorder(Protocol):
    def record(self, step: Step) -> Step:
        """What does the same work as `step` on the same tensors, as often as it is called."""
        ...


class EagerRecorder:
    """Satisfies `Recorder` by calling the function: for devices without graphs, and for tests, which can see in
    `recorded` how often something was captured."""

    def __init__(self) -> None:
        self.recorded = 0

    def record(self, step: Step) -> Step:
        self.recorded += 1
        return step


class CudaRecorder:
    """Satisfies `Recorder` by a CUDA graph; all graphs share one pool of memory, because one runs at a time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, step: Step) -> Step:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries set themselves up in their first call
            step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            step()
        return graph.replay


@dataclass(slots=True)
class _Slot:
    """What the device has of a take: which sequence of its tokens, and the cache with its place."""

    cache: Cache
    sequence: TokenSequence | None = None


class GraphStepper:
    """Satisfies `Stepper`, for up to `takes` takes of up to `length` positions each, prefix included."""

    def __init__(self, decoder: Decoder, recorder: Recorder, *, takes: int, length: int) -> None:
        self._decoder = decoder
        self._recorder = recorder
        self._eager = EagerStepper(decoder)
        self._length = length
        self._slots: list[_Slot | None] = [None] * takes
        self._steps: dict[tuple[int, int], Step] = {}
        device, codebooks = decoder.device, decoder.codebooks
        # One position more than a take can have: slots without a take to step write there.
        shape = (decoder.layers, takes, ROWS, 2, decoder.heads, length + 1, decoder.head_dim)
        self._kv = torch.zeros(shape, dtype=decoder.kv_dtype, device=device)
        self._text: Tensor | None = None
        self._text_tokens = torch.zeros(takes, dtype=torch.int64, device=device)
        self._is_stepping = torch.zeros(takes, dtype=torch.bool, device=device)
        self._used = torch.zeros(takes, dtype=torch.int64, device=device)
        self._column = torch.zeros((takes, codebooks), dtype=torch.int64, device=device)
        # What the sequence's columns must be where they are known, as `TokenSequence` has them.
        self._columns = torch.zeros((takes, codebooks, _MOST_COLUMNS), dtype=torch.int64, device=device)
        self._next = torch.zeros(takes, dtype=torch.int64, device=device)
        self._seed = torch.zeros(takes, dtype=torch.int64, device=device)
        self._draws = torch.zeros(takes, dtype=torch.int64, device=device)
        self._guidance = torch.ones((takes, 1, 1), device=device)
        self._temperature = torch.ones((takes, 1, 1), device=device)
        self._noise_scale = torch.ones((takes, 1, 1), device=device)
        self._top_k = torch.full((takes, 1, 1), decoder.card, dtype=torch.int64, device=device)
        self._top_p = torch.full((takes, 1, 1), 2.0, device=device)
        self._drawn = torch.zeros((takes, codebooks), dtype=torch.int64, device=device)

    def new_cache(self, rows: int, length: int, text: Tensor | None) -> Cache:
        if None not in self._slots or length > self._length:
            raise EngineBusy("no slot of the GPU's memory has room for this take")
        place = self._slots.index(None)
        if length > len(self._decoder.positions):
            self._decoder.positions = self._decoder.make_positions(length)
            self._steps.clear()
        read = None if text is None else self._decoder.read(text)
        cache = Cache(kv=self._kv[:, place, :rows, :, :, : self._length], text=read)
        self._slots[place] = _Slot(cache)
        if read is not None:
            self._keep_text(place, read)
        return cache

    def cache_bytes(self, rows: int, length: int) -> int:
        """Of a slot, whatever the take needs of it; of more than a slot, what it would need."""
        return self._decoder.cache_bytes(ROWS, max(length, self._length))

    def release(self, cache: Cache) -> None:
        for place, slot in enumerate(self._slots):
            if slot is not None and slot.cache is cache:
                self._slots[place] = None
                self._is_stepping[place] = False

    def draw(self, take: Stepping, logits: Tensor) -> Tensor:
        return self._eager.draw(take, logits)

    @torch.inference_mode()
    def step(self, takes: Sequence[Stepping]) -> Tensor:
        places = [self._place(take) for take in takes]
        for place, slot in enumerate(self._slots):
            if slot is not None and slot.sequence is not None and place not in places:
                # Between two windows: what is taken in meanwhile must stay as it is.
                slot.sequence = None
                self._is_stepping[place] = False
        for place, take in zip(places, takes, strict=True):
            slot = self._slots[place]
            assert slot is not None  # noqa: S101 - `_place` has found it
            if slot.sequence is not take.sequence:
                self._seat(place, take)
                slot.sequence = take.sequence
        batch = _bucket(max(places) + 1, 1, len(self._slots))
        length = _bucket(max(take.cache.used for take in takes) + 1, _SHORTEST, self._length)
        self._recorded(batch, length)()
        for take in takes:
            take.cache.used += 1
        if self._decoder.device.type == "cuda":
            # The step's only synchronisation, so that the host is never more than a step ahead.
            torch.cuda.current_stream().synchronize()
        return torch.stack([self._drawn[place] for place in places])

    def _place(self, take: Stepping) -> int:
        return next(
            place for place, slot in enumerate(self._slots) if slot is not None and slot.cache is take.cache
        )

    def _seat(self, place: int, take: Stepping) -> None:
        """Bring what a step needs to know of a take, at its first step in a window, to the device."""
        sequence, sampling = take.sequence, take.sampling
        settings = SamplingRows.of([sampling], self._decoder.card, self._decoder.device)
        self._columns[place, :, : sequence.columns.shape[1]] = sequence.columns
        self._next[place] = sequence.next
        self._column[place] = take.column
        self._used[place] = take.cache.used
        self._seed[place] = sampling.seed
        self._draws[place] = take.draws_made
        self._guidance[place] = sampling.cfg_coef
        self._temperature[place] = settings.temperature[0]
        self._noise_scale[place] = settings.noise_scale[0]
        self._top_k[place] = settings.top_k[0]
        self._top_p[place] = settings.top_p[0]
        self._is_stepping[place] = True

    def _keep_text(self, place: int, read: Tensor) -> None:
        """read: [layers, 2, 1, H, tokens, D]"""
        tokens = read.shape[4]
        if self._text is None or self._text.shape[4] < tokens:
            room = _bucket(tokens, _FIRST_TEXT, 1 << 30)
            layers, _, _, heads, _, head_dim = read.shape
            text = read.new_zeros((layers, len(self._slots), 2, heads, room, head_dim))
            if self._text is not None:
                text[..., : self._text.shape[4], :] = self._text
            self._text = text
            self._steps.clear()
        self._text[:, place, :, :, :tokens] = read[:, :, 0]
        self._text_tokens[place] = tokens

    def _recorded(self, batch: int, length: int) -> Step:
        step = self._steps.get((batch, length))
        if step is None:
            kept = [tensor.clone() for tensor in self._state]
            step = self._recorder.record(lambda: self._advance(batch, length))
            # Recording may have made steps; what they wrote of keys and values is written again.
            for tensor, before in zip(self._state, kept, strict=True):
                tensor.copy_(before)
            self._steps[batch, length] = step
        return step

    @property
    def _state(self) -> tuple[Tensor, ...]:
        return self._used, self._column, self._next, self._draws

    def _advance(self, batch: int, length: int) -> None:
        """One position further for the slots up to `batch`, all of whose positions are below `length`."""
        stepping = self._is_stepping[:batch]
        logits = self._logits(batch, length, torch.where(stepping, self._used[:batch], self._length))
        conditional, null = logits.float().unbind(1)  # each [b, K, card]
        guidance = self._guidance[:batch]
        guided = torch.where(guidance == 1.0, conditional, null + (conditional - null) * guidance)
        noise = gumbel_at(
            self._seed[:batch], self._draws[:batch], self._decoder.codebooks, self._decoder.card
        )
        rows = SamplingRows(
            temperature=self._temperature[:batch],
            noise_scale=self._noise_scale[:batch],
            top_k=self._top_k[:batch],
            top_p=self._top_p[:batch],
            widest_k=self._decoder.card,
            by_k=True,
            by_p=True,
        )
        drawn = choose(guided, noise, rows)  # [b, K]
        index = self._next[:batch, None, None].expand(-1, self._decoder.codebooks, 1)
        wanted = self._columns[:batch].gather(2, index)[..., 0]
        self._drawn[:batch].copy_(drawn)
        self._column[:batch].copy_(torch.where(wanted == UNKNOWN, drawn, wanted))
        for counter in (self._used, self._next, self._draws):
            counter[:batch] += stepping

    def _logits(self, batch: int, length: int, at: Tensor) -> Tensor:
        """`at`: where each slot writes its keys and values, int64 [b] -> [b, rows, K, card]"""
        decoder, d = self._decoder, self._decoder.width
        heads, head_dim = decoder.heads, decoder.head_dim
        x = decoder.embed(self._column[:batch]) + decoder.positions[self._used[:batch]]
        x = x[:, None].expand(-1, ROWS, -1).reshape(batch * ROWS, d)
        slots = torch.arange(batch, device=x.device)[:, None]
        rows = torch.arange(ROWS, device=x.device)[None]
        positions = torch.arange(length, device=x.device)
        past = (positions <= self._used[:batch, None]).repeat_interleave(ROWS, 0)[:, None, None]
        for index, layer in enumerate(decoder.blocks):
            qkv = layer.qkv(layer.norm_self(x)).view(batch, ROWS, 3, heads, head_dim).to(decoder.kv_dtype)
            kv = self._kv[index, :batch]  # [b, rows, 2, H, length + 1, D]
            kv[slots, rows, :, :, at[:, None]] = qkv[:, :, 1:]
            keys, values = kv.flatten(0, 1)[..., :length, :].unbind(1)
            read = functional.scaled_dot_product_attention(
                qkv[:, :, 0].reshape(batch * ROWS, heads, 1, head_dim), keys, values, attn_mask=past
            )
            x = x + layer.out(read.reshape(-1, d).to(x.dtype))
            if layer.cross is not None and self._text is not None:
                text = self._text[index, :batch]  # [b, 2, H, tokens, D]
                words = torch.arange(text.shape[3], device=x.device)
                # An empty slot reads its first word, too: a softmax over nothing would not be a number.
                there = words < self._text_tokens[:batch, None].clamp(min=1)
                q = layer.cross.q(layer.cross.norm(x[::ROWS])).view(batch, heads, 1, head_dim)
                read = functional.scaled_dot_product_attention(
                    q.to(decoder.kv_dtype), text[:, 0], text[:, 1], attn_mask=there[:, None, None]
                )
                x[::ROWS] += layer.cross.out(read.reshape(-1, d).to(x.dtype))
            x = x + layer.down(layer.up(layer.norm_mlp(x), gelu=True))
        return decoder.logits(x).view(batch, ROWS, decoder.codebooks, decoder.card)


def _bucket(needed: int, least: int, most: int) -> int:
    """The next power of two, at least `least` and at most `most`."""
    return min(most, max(least, 1 << (needed - 1).bit_length()))
