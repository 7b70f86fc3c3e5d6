"""Signals that pass through a stage a block at a time, in threads: a stop takes effect at the next block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack

import numpy as np

from deployments.audio.samples import Samples
from deployments.audio.track import BLOCK_SAMPLES, TrackReader, TrackWriter
from deployments.stages.pipeline.workspace import Workspace

Progress = Callable[[float], None]
Mixer = Callable[[Sequence[Samples]], Samples]


async def blocks_of(reader: TrackReader, count: int = BLOCK_SAMPLES) -> AsyncIterator[Samples]:
    """The track in order, `count` samples at a time, float32 [channels, samples]."""
    for start in range(0, reader.samples, count):
        yield await asyncio.to_thread(reader.read, start, min(count, reader.samples - start))


async def combine(
    workspace: Workspace, target: str, sources: Sequence[str], mix: Mixer, on_progress: Progress | None = None
) -> None:
    """A track made of others of one format, sample by sample: `mix` is given a block of each."""
    readers = [await workspace.read(name) for name in sources]
    like = readers[0]

    def step(writer: TrackWriter, start: int) -> None:
        count = min(BLOCK_SAMPLES, like.samples - start)
        writer.append(mix([reader.read(start, count) for reader in readers]))

    with ExitStack() as stack:
        writer = stack.enter_context(workspace.create(target, like.rate_hz, like.channels))
        for start in range(0, like.samples, BLOCK_SAMPLES):
            await asyncio.to_thread(step, writer, start)
            if on_progress is not None:
                on_progress(min(1.0, (start + BLOCK_SAMPLES) / like.samples))


def difference(signals: Sequence[Samples]) -> Samples:
    """The first without all the others, computed exactly and rounded once."""
    exact = signals[0].astype(np.float64)
    for other in signals[1:]:
        exact -= other
    return exact.astype(np.float32)
