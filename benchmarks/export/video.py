"""Video of a track against ffmpeg's `showwaves`: `python -m benchmarks.export.video [--quick] [--json FILE]`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit import machine
from benchmarks.kit.report import Report, options
from benchmarks.kit.turns import take_turns, timed, times_faster
from deployments.audio.track import TrackReader, TrackWriter
from deployments.export.ffmpeg import find_ffmpeg
from deployments.export.muxer import write_planar_mp4
from deployments.export.waveform_frames import PRESETS, Scene, View, waveform_frames
from tests.support.clips import music

PACKAGES = ("numpy", "imageio-ffmpeg", "pillow")
RATE_HZ = 48_000
FPS = 30
SIZE = "1280x720"
SHOWWAVES = "ffmpeg showwaves"

VIDEO = Head(
    "video",
    f"A {SIZE} video of a stereo track at {FPS} frames a second",
    "The whole way from a WAV to an MP4, each with x264 veryfast and AAC; ffmpeg may use every core, Segue's "
    "encoder one (so that equal input gives equal bytes). Medians of the rounds.",
)


@dataclass(frozen=True, slots=True)
class Effort:
    duration_s: float
    rounds: int


FULL = Effort(60.0, 3)
QUICK = Effort(5.0, 1)


def main() -> None:
    arguments = options("benchmarks.export.video", "Measure the video of a track.").parse_args()
    about = machine.describe(PACKAGES)
    effort = QUICK if arguments.quick else FULL
    findings = Findings()
    probes = {"before": machine.spin_ratio()}
    print("measuring", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder:
        _measure(Path(folder), effort, findings)
    probes["after"] = machine.spin_ratio()
    tables = [*findings.tables(), machine.quietness(probes)]
    Report("Segue's video, measured", about, tables, arguments.quick).give(arguments.json)


def _measure(folder: Path, effort: Effort, findings: Findings) -> None:
    track = folder / "track.wav"
    with TrackWriter(track, RATE_HZ, 2) as writer:
        writer.append(music(effort.duration_s, RATE_HZ))
    cpu = torch.device("cpu")
    contestants = {
        SHOWWAVES: partial(timed, partial(_showwaves, track), cpu),
        **{f"Segue, {view}": partial(timed, partial(_segue, track, view), cpu) for view in View},
    }
    took_s = take_turns(contestants, effort.rounds)
    for way in took_s:
        findings.add(VIDEO, {"by": way, "rounds": effort.rounds, "seconds": median(took_s[way])})
    ratio = times_faster(took_s[SHOWWAVES], took_s[f"Segue, {View.WAVEFORM}"])
    findings.targets.append(
        Target.at_least("showwaves' time over that of Segue's waveform, times", 2.5, ratio)
    )


def _segue(track: Path, view: View) -> None:
    scene = Scene(PRESETS[SIZE], FPS, view, "A title", [20.0, 40.0])
    frames = waveform_frames(TrackReader(track), scene)
    write_planar_mp4(track.with_name("segue.mp4"), frames, scene.size, FPS, audio=track)


def _showwaves(track: Path) -> None:
    graph = f"[0:a]showwaves=s={SIZE}:r={FPS}:mode=line,format=yuv420p[v]"
    subprocess.run(
        [
            *(
                find_ffmpeg(),
                "-v",
                "error",
                "-y",
                "-i",
                track,
                "-filter_complex",
                graph,
                "-map",
                "[v]",
                "-map",
                "0:a",
            ),
            *("-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac", track.with_name("showwaves.mp4")),
        ],
        check=True,
    )


if __name__ == "__main__":
    main()
