"""Lines of an oracle's takes: joined by Segue, by a hard cut, and by a plain crossfade of 50 ms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.seams.oracle import RATE_HZ as MODEL_HZ
from benchmarks.seams.oracle import Faults, Oracle, Recording, line_of
from deployments.audio.resample import resample
from deployments.audio.samples import Samples
from tests.deployments.stages.studio import Studio

PLAIN_S = 0.05
CONTEXT_S = 10.0


async def segue_line(
    recording: Recording,
    faults: Sequence[Faults],
    *,
    root_s: float,
    take_s: float,
    rate_hz: int,
    start_s: float = 0.0,
    **params: Any,
) -> tuple[Samples, list[dict[str, Any]]]:
    """The line of a take for each of `faults`, and what provenance says of its seams."""
    studio = Studio()
    await studio.upload(_root(recording, start_s, root_s, rate_hz), rate_hz)
    parent, seams = "root", []
    for index, fault in enumerate(faults):
        oracle = Oracle(recording, fault, at_s=start_s + root_s + index * take_s)
        made = await studio.branch(oracle, take_s, parent_id=parent, name=f"take{index}", **params)
        parent = f"take{index}"
        seams.append(dict(made.provenance.get("seam", {})))
    return await studio.line(parent), seams


def plain_line(
    recording: Recording,
    faults: Sequence[Faults],
    *,
    root_s: float,
    take_s: float,
    rate_hz: int,
    crossfade_s: float,
    start_s: float = 0.0,
) -> Samples:
    """The same takes as the generator gives them, one behind the other; the codec's rendering is faded in linearly
    over the line's last `crossfade_s`, 0 for a hard cut."""
    line = _root(recording, start_s, root_s, rate_hz)
    count, fade = round(take_s * rate_hz), round(crossfade_s * rate_hz)
    for index, fault in enumerate(faults):
        oracle = Oracle(recording, fault, at_s=start_s + root_s + index * take_s)
        context = resample(line[:, -round(CONTEXT_S * rate_hz) :], rate_hz, MODEL_HZ)
        rendering, new = oracle.signal(context, take_s)
        signal = resample(np.concatenate([rendering, new], axis=1), MODEL_HZ, rate_hz)
        before = round(rendering.shape[1] * rate_hz / MODEL_HZ)
        if fade:
            rising = np.arange(fade) / fade
            line[:, -fade:] += (signal[:, before - fade : before] - line[:, -fade:]) * rising
        line = np.concatenate([line, signal[:, before : before + count]], axis=1)
    return line


def true_line(recording: Recording, length_s: float, rate_hz: int, start_s: float = 0.0) -> Samples:
    """The recording itself, as long as the line."""
    return _root(recording, start_s, length_s, rate_hz)


def _root(recording: Recording, start_s: float, root_s: float, rate_hz: int) -> Samples:
    samples = line_of(recording, start_s, start_s + root_s)
    return resample(samples, MODEL_HZ, rate_hz)[:, : round(root_s * rate_hz)].copy()
