"""The separator on held-out songs: how much nearer each stem is than the mixture."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.starter.songs import STEMS_HZ, Song
from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader, TrackWriter
from deployments.engines.common.device import Device
from deployments.engines.separation.catalog import SeparatorOptions, find
from deployments.engines.separation.load import load
from deployments.engines.separation.track import separate_track
from training.starter.composer.song import STEMS

SEPARATED = Head(
    "separator",
    "Taken apart",
    "{seconds:g} s of each test song, the stems where they sound. SDR as in the Music Demixing Challenge (10 log10 "
    "of the stem's energy over the error's; no filter is allowed for), median over the songs: of the mixture taken "
    "for the stem, and of the separated stem.",
)
WANTED_DB = {"drums": 5.0, "bass": 3.0, "other": 3.0, "vocals": 3.0}
_SOUNDING = 1e-6


def measure(
    findings: Findings,
    songs: Sequence[Song],
    runner: asyncio.Runner,
    model: str,
    cache_dir: Path,
    *,
    seconds: float,
) -> None:
    separator = load(find(model), cache_dir=cache_dir, options=SeparatorOptions(device=Device.CPU))
    before: dict[str, list[float]] = {name: [] for name in STEMS}
    after: dict[str, list[float]] = {name: [] for name in STEMS}
    for song in songs:
        truth = song.stems(10.0, seconds)
        mix = truth.sum(0)
        made = runner.run(_separate(separator, mix))
        for index, name in enumerate(STEMS):
            if float(np.square(truth[index]).mean()) < _SOUNDING:
                continue
            before[name].append(sdr_db(truth[index], mix))
            after[name].append(sdr_db(truth[index], made[name]))
    runner.run(separator.close())
    head = Head(SEPARATED.name, SEPARATED.title, SEPARATED.note.format(seconds=seconds))
    for name in STEMS:
        if not before[name]:
            continue
        gained = float(np.median(np.subtract(after[name], before[name])))
        findings.add(
            head,
            {
                "stem": name,
                "songs": len(before[name]),
                "mixture, dB": float(np.median(before[name])),
                "stem, dB": float(np.median(after[name])),
                "nearer by, dB": gained,
            },
        )
        findings.targets.append(
            Target.at_least(f"separator: {name} nearer than the mixture, dB", WANTED_DB[name], gained)
        )


def sdr_db(truth: Samples, estimate: Samples) -> float:
    wanted, error = (np.square(each, dtype=np.float64).sum() for each in (truth, truth - estimate))
    return float(10 * np.log10(wanted / max(float(error), 1e-12)))


async def _separate(separator: object, mix: Samples) -> dict[str, Samples]:
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as name:
        path = Path(name, "mix.wav")
        with TrackWriter(path, STEMS_HZ, 2) as writer:
            writer.append(mix)
        parts: dict[str, list[Samples]] = {}
        async for stretch in separate_track(separator, TrackReader(path)):  # type: ignore[arg-type]
            for stem, samples in stretch.items():
                parts.setdefault(stem, []).append(samples)
    return {stem: np.concatenate(each, axis=1) for stem, each in parts.items()}
