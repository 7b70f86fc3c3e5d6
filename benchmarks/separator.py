"""Segue's separation beside Demucs's own: `python -m benchmarks.separator [--quick] [--json FILE]`."""

from __future__ import annotations

import asyncio
import copy
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from demucs.apply import BagOfModels, apply_model
from demucs.htdemucs import HTDemucs

from benchmarks import machine
from benchmarks.report import Report, options
from benchmarks.tables import Table
from benchmarks.turns import take_turns, timed, times_faster
from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader, TrackWriter
from deployments.engines.protocols import Device
from deployments.engines.separation.demucs import DemucsEngine
from deployments.engines.separation.loading import bag_of
from deployments.engines.separation.options import SeparationOptions
from deployments.engines.separation.registry import SeparatorOptions, find
from deployments.engines.separation.whole import separate_track

RATE_HZ = 44_100
SOURCES = ("drums", "bass", "other", "vocals")
CLIP_S = 20.0
CLIPS = 4


def main() -> None:
    arguments = options("benchmarks.separator", "Measure source separation.").parse_args()
    quick: bool = arguments.quick
    clip_s, rounds = (6.0, 1) if quick else (CLIP_S, 3)
    about = {
        **machine.describe(("torch", "demucs", "numpy")),
        "torch's threads": str(torch.get_num_threads()),
    }
    probes = {"before separating": machine.spin_ratio()}
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder:
        tables = [asyncio.run(_one_clip(Path(folder), clip_s, rounds))]
        probes["before clips at once"] = machine.spin_ratio()
        tables.append(asyncio.run(_clips_at_once(Path(folder), clip_s / 2, max(1, rounds - 1))))
    Report("Segue's separator, measured", about, [*tables, machine.quietness(probes)], quick).give(
        arguments.json
    )


def _network() -> Any:
    """htdemucs's shape (Demucs 4.1.0's own defaults and what its configuration changes), random weights."""
    torch.manual_seed(0)
    return HTDemucs(list(SOURCES), bottom_channels=512, segment=Fraction(39, 5)).eval()


def _engine(network: Any, dtype: str = "float32") -> DemucsEngine:
    bag = bag_of(BagOfModels([copy.deepcopy(network)]))
    return DemucsEngine.of(find("htdemucs"), bag, SeparatorOptions(device=Device.CPU, dtype=dtype))


def _track(folder: Path, seconds: float) -> TrackReader:
    noise = 0.1 * np.random.default_rng(1).standard_normal((2, round(seconds * RATE_HZ)))
    with TrackWriter(folder / f"{seconds:g}.wav", RATE_HZ, 2) as writer:
        writer.append(noise.astype(np.float32))
    return TrackReader(writer.path)


async def _stems(engine: DemucsEngine, track: TrackReader) -> Samples:
    """All stems, [sources, channels, samples]."""
    stretches = separate_track(engine, track, options=SeparationOptions())
    pieces = [np.stack([stretch[name] for name in SOURCES]) async for stretch in stretches]
    return np.concatenate(pieces, axis=2)


def _demucs(network: Any, track: TrackReader) -> Samples:
    """As `demucs.api.Separator` does it with `shifts=0`."""
    wave = torch.from_numpy(track.read(0, track.samples))
    level = wave.mean(0)
    scaled = (wave - level.mean()) / (level.std() + 1e-8)
    stems: Samples = (apply_model(network, scaled[None], shifts=0)[0] * (level.std() + 1e-8)).numpy()
    return stems + float(level.mean())


async def _one_clip(folder: Path, seconds: float, rounds: int) -> Table:
    network, track = _network(), _track(folder, seconds)
    engines = {dtype: _engine(network, dtype) for dtype in ("float32", "bfloat16")}
    made: dict[str, Samples] = {}
    loop = asyncio.get_running_loop()

    def ours(dtype: str) -> Callable[[], object]:
        def work() -> None:
            done = asyncio.run_coroutine_threadsafe(_stems(engines[dtype], track), loop)
            made[dtype] = done.result()

        return work

    def theirs() -> None:
        made["demucs"] = _demucs(network, track)

    contestants: dict[str, Callable[[], object]] = {
        "demucs": theirs,
        **{dtype: ours(dtype) for dtype in engines},
    }
    cpu = torch.device("cpu")
    said = await asyncio.to_thread(
        take_turns,
        {name: (lambda work=work: timed(work, cpu)) for name, work in contestants.items()},
        rounds,
    )
    for engine in engines.values():
        await engine.close()
    reference = made["demucs"]
    return Table(
        "one clip",
        "One clip",
        f"A clip of {seconds:g} s, htdemucs's shape with random weights, all four stems, overlap 0.25, no shifts; "
        f"medians of {rounds} rounds in turns. `error` is the largest difference from Demucs's own stems, "
        "`relative error` the root of the mean square of the difference by that of the stems.",
        [
            {
                "separated by": "demucs 4.1.0" if name == "demucs" else "segue",
                "format": "float32" if name == "demucs" else name,
                "s": median(values),
                "times real time": seconds / median(values),
                "times demucs": times_faster(said["demucs"], values),
                "error": float(np.abs(made[name] - reference).max()),
                "relative error": float(
                    np.sqrt(np.square(made[name] - reference).mean() / np.square(reference).mean())
                ),
            }
            for name, values in said.items()
        ],
    )


async def _clips_at_once(folder: Path, seconds: float, rounds: int) -> Table:
    engine, track = _engine(_network()), _track(folder, seconds)
    loop = asyncio.get_running_loop()
    apart_s: list[float] = []

    async def at_once() -> None:
        ended_s: list[float] = []

        async def one() -> None:
            await _stems(engine, track)
            ended_s.append(loop.time())

        await asyncio.gather(*(one() for _ in range(CLIPS)))
        apart_s.append(max(ended_s) - min(ended_s))

    async def one_by_one() -> None:
        for _ in range(CLIPS):
            await _stems(engine, track)

    cpu = torch.device("cpu")

    def timing(work: Callable[[], Any]) -> Callable[[], float]:
        return lambda: timed(lambda: asyncio.run_coroutine_threadsafe(work(), loop).result(), cpu)

    said = await asyncio.to_thread(
        take_turns, {"one by one": timing(one_by_one), "at once": timing(at_once)}, rounds
    )
    await engine.close()
    return Table(
        "clips at once",
        f"{CLIPS} clips at once",
        f"{CLIPS} clips of {seconds:g} s by one replica, float32: one after the other, and all at once. "
        "`apart` is the time between the first that is done and the last.",
        [
            {
                "clips": name,
                "s": median(values),
                "times one by one": times_faster(said["one by one"], values),
                "apart (s)": median(apart_s) if name == "at once" else float("nan"),
            }
            for name, values in said.items()
        ],
    )


if __name__ == "__main__":
    main()
