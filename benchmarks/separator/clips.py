"""Separating clips: one, one stem by a bag, and several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit.turns import take_turns, timed, times_faster
from benchmarks.separator.models import (
    DEMUCS,
    SEGUE,
    SOURCES,
    Effort,
    bag,
    demucs_stems_of,
    engine,
    full_shape,
    noise,
    relative_error,
    stems_of,
)
from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader
from deployments.engines.separation.demucs.engine import DemucsEngine
from deployments.engines.separation.options import SeparationOptions

CLIPS = 4
DTYPES = ("float32", "bfloat16")
STEM = "vocals"
ONE_BY_ONE, AT_ONCE = "one by one", "at once"
_CPU = torch.device("cpu")

ONE = Head(
    "one clip",
    "One clip",
    "htdemucs's shape with random weights, all four stems, overlap 0.25, no shifts, one clip at a time; medians of "
    "rounds in turns. `error` is the largest difference from Demucs's own stems, `relative error` the root of the "
    "mean square of the difference by that of the stems.",
)
BAG = Head(
    "one stem of a bag",
    "One stem of a bag",
    "A bag of four networks of that shape, of which each is for one source, as htdemucs_ft is. Demucs's own "
    "`apply_model` asks all of them whichever stems are wanted.",
)
COMPANY = Head(
    "clips at once",
    f"{CLIPS} clips at once",
    f"{CLIPS} clips by one replica, float32: one after the other, and all at once. `apart` is the time from the "
    "first that is done to the last.",
)


async def measure_one(folder: Path, effort: Effort, findings: Findings) -> None:
    network, track = full_shape(), noise(folder, effort.clip_s)
    theirs = bag([network])
    ours = {dtype: engine(bag([network]), dtype) for dtype in DTYPES}
    stems: dict[str, Samples] = {}
    contestants = {DEMUCS: _kept(stems, DEMUCS, partial(demucs_stems_of, theirs, track))} | {
        dtype: _kept(stems, dtype, _by(each, track, SeparationOptions())) for dtype, each in ours.items()
    }
    for each in ours.values():
        await each.warm_up()
    took_s = await _in_turns(contestants, effort.clip_rounds)
    for each in ours.values():
        await each.close()
    errors = {name: relative_error(made, stems[DEMUCS]) for name, made in stems.items()}
    for name, values in took_s.items():
        findings.add(
            ONE,
            {
                "separated by": DEMUCS if name == DEMUCS else SEGUE,
                "format": "float32" if name == DEMUCS else name,
                "clip (s)": effort.clip_s,
                "rounds": effort.clip_rounds,
                "s": median(values),
                "times real time": effort.clip_s / median(values),
                "times demucs": times_faster(took_s[DEMUCS], values),
                "error": f"{np.abs(stems[name] - stems[DEMUCS]).max():.1e}",
                "relative error": f"{errors[name]:.1e}",
            },
        )
    findings.targets += [
        Target.at_least("float32, times demucs", 1.25, times_faster(took_s[DEMUCS], took_s["float32"])),
        Target.at_least("bfloat16, times demucs", 2, times_faster(took_s[DEMUCS], took_s["bfloat16"])),
        Target.at_most("bfloat16, relative error in thousandths", 5, 1000 * errors["bfloat16"]),
    ]


async def measure_bag(folder: Path, effort: Effort, findings: Findings) -> None:
    track = noise(folder, effort.bag_clip_s)
    # As Demucs reads them: a row for each network, a column for each source.
    weights = [
        [float(source == network) for source in range(len(SOURCES))] for network in range(len(SOURCES))
    ]
    networks = [full_shape(seed) for seed in range(len(SOURCES))]
    theirs, ours = bag(networks, weights), engine(bag(networks, weights))
    del networks
    stems: dict[str, Samples] = {}
    contestants = {
        DEMUCS: _kept(stems, DEMUCS, partial(demucs_stems_of, theirs, track)),
        SEGUE: _kept(stems, SEGUE, _by(ours, track, SeparationOptions(stems=(STEM,)))),
    }
    took_s = await _in_turns(contestants, effort.bag_rounds)
    await ours.close()
    error = float(np.abs(stems[SEGUE][0] - stems[DEMUCS][SOURCES.index(STEM)]).max())
    for name, values in took_s.items():
        findings.add(
            BAG,
            {
                "separated by": name,
                "clip (s)": effort.bag_clip_s,
                "rounds": effort.bag_rounds,
                "s": median(values),
                "times demucs": times_faster(took_s[DEMUCS], values),
                "error": "" if name == DEMUCS else f"{error:.1e}",
            },
        )
    ratio = times_faster(took_s[DEMUCS], took_s[SEGUE])
    findings.targets.append(Target.at_least("one stem of a bag of four, times demucs", 3.8, ratio))


async def measure_company(folder: Path, effort: Effort, findings: Findings) -> None:
    by, track = engine(bag([full_shape()])), noise(folder, effort.clips_s)
    loop = asyncio.get_running_loop()
    apart_s: list[float] = []

    async def one() -> float:
        await stems_of(by, track, SeparationOptions())
        return loop.time()

    async def at_once() -> None:
        ended_s = await asyncio.gather(*(one() for _ in range(CLIPS)))
        apart_s.append(max(ended_s) - min(ended_s))

    async def one_by_one() -> None:
        for _ in range(CLIPS):
            await one()

    await by.warm_up()
    contestants = {ONE_BY_ONE: _on(loop, one_by_one), AT_ONCE: _on(loop, at_once)}
    took_s = await _in_turns(contestants, effort.clips_rounds)
    await by.close()
    for name, values in took_s.items():
        findings.add(
            COMPANY,
            {
                "clips": name,
                "clip (s)": effort.clips_s,
                "rounds": effort.clips_rounds,
                "s": median(values),
                "times one by one": times_faster(took_s[ONE_BY_ONE], values),
                "apart (s)": median(apart_s) if name == AT_ONCE else float("nan"),
            },
        )
    ratio = times_faster(took_s[ONE_BY_ONE], took_s[AT_ONCE])
    share = median(apart / took for apart, took in zip(apart_s, took_s[AT_ONCE], strict=True))
    findings.targets += [
        Target.at_least(f"{CLIPS} clips at once, times one by one", 1, ratio),
        Target.at_most(f"{CLIPS} clips at once, apart by this share of the time", 0.5, share),
    ]


async def _in_turns(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each in each round."""
    timings = {name: partial(timed, work, _CPU) for name, work in contestants.items()}
    return await asyncio.to_thread(take_turns, timings, rounds)


def _by(by: DemucsEngine, track: TrackReader, options: SeparationOptions) -> Callable[[], Samples]:
    return _on(asyncio.get_running_loop(), partial(stems_of, by, track, options))


def _on(loop: asyncio.AbstractEventLoop, work: Callable[[], Any]) -> Callable[[], Any]:
    """For other threads: does it on the loop and waits."""
    return lambda: asyncio.run_coroutine_threadsafe(work(), loop).result()


def _kept(stems: dict[str, Samples], name: str, make: Callable[[], Samples]) -> Callable[[], object]:
    """Keeps what was made."""

    def work() -> None:
        stems[name] = make()

    return work
