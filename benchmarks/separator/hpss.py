"""Segue's harmonic/percussive separation against librosa's, and its loudness against ffmpeg's:
`python -m benchmarks.separator.hpss [--quick] [--json FILE]`."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit import machine
from benchmarks.kit.child import Child
from benchmarks.kit.report import Report, options
from benchmarks.kit.turns import take_turns, times_faster
from benchmarks.separator.hpss_alone import LIBROSA, SEGUE
from deployments.audio.loudness import Loudness, LoudnessMeter
from deployments.audio.track import TrackReader, TrackWriter
from deployments.export.ffmpeg import find_ffmpeg
from tests.support.clips import music

PACKAGES = ("numpy", "librosa", "scipy", "imageio-ffmpeg")
RATE_HZ = 44_100
PHRASE_S = 10
FFMPEG = "ffmpeg"
TOLERANCE = 1e-5

HPSS = Head(
    "hpss",
    "Harmonic and percussive parts of a stereo track",
    "From one file into two, each time in a fresh process; medians of the rounds. Memory is the most it ever was, "
    "less what it was before. The difference is the largest of any sample, of both parts.",
)
LOUDNESS = Head(
    "loudness",
    "Loudness and true peak of a stereo track",
    "Of a file. ffmpeg is its filter ebur128 with true peaks, the whole program with its start; its figures have "
    "one digit after the point.",
)


@dataclass(frozen=True, slots=True)
class Effort:
    """`tracks`: how many minutes are separated how often. `loudness_rounds` are of the last of them."""

    tracks: dict[float, int]
    loudness_rounds: int


FULL = Effort(tracks={1: 3, 5: 1}, loudness_rounds=3)
QUICK = Effort(tracks={0.1: 1}, loudness_rounds=1)


@dataclass(slots=True)
class _Place:
    """Where the files of one track are, and what was found out about it."""

    folder: Path
    duration_s: float
    peak_mb: dict[str, list[float]] = field(default_factory=dict)

    @property
    def track(self) -> Path:
        return self.folder / "track.wav"

    def part(self, way: str, part: str) -> Path:
        return self.folder / f"{way}-{part}.wav"


def main() -> None:
    arguments = options("benchmarks.separator.hpss", "Measure the separation and the loudness.").parse_args()
    about = machine.describe(PACKAGES)
    effort = QUICK if arguments.quick else FULL
    findings = Findings()
    probes: dict[str, float] = {}
    for minutes, rounds in effort.tracks.items():
        with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder:
            place = _Place(Path(folder), minutes * 60)
            _write_track(place)
            probes[f"before {minutes:g} min"] = machine.spin_ratio()
            print(f"measuring: {minutes:g} min", file=sys.stderr)
            _measure_hpss(place, rounds, findings)
            if minutes == max(effort.tracks):
                _measure_loudness(place, effort.loudness_rounds, findings)
    probes["after"] = machine.spin_ratio()
    tables = [*findings.tables(), machine.quietness(probes)]
    Report("Segue's signal processing, measured", about, tables, arguments.quick).give(arguments.json)


def _write_track(place: _Place) -> None:
    left_samples = round(place.duration_s * RATE_HZ)
    with TrackWriter(place.track, RATE_HZ, 2) as writer:
        seed = 0
        while left_samples:
            phrase = music(PHRASE_S, RATE_HZ, seed=seed)[:, :left_samples]
            writer.append(phrase)
            left_samples -= phrase.shape[1]
            seed += 1


def _measure_hpss(place: _Place, rounds: int, findings: Findings) -> None:
    contestants = {way: partial(_separate, place, way) for way in (SEGUE, LIBROSA)}
    took_s = take_turns(contestants, rounds)
    ratio = times_faster(took_s[LIBROSA], took_s[SEGUE])
    difference = _difference(place)
    for way in contestants:
        findings.add(
            HPSS,
            {
                "track": f"{place.duration_s / 60:g} min",
                "by": way,
                "rounds": rounds,
                "seconds": median(took_s[way]),
                "x real time": place.duration_s / median(took_s[way]),
                "times faster": ratio if way == SEGUE else 1.0,
                "peak MB": max(place.peak_mb[way]),
                "difference": f"{difference:.1e}" if way == SEGUE else "",
            },
        )
    what = f"of {place.duration_s / 60:g} min"
    findings.targets += [
        Target.at_least(f"times faster than librosa, {what}", 1, ratio),
        Target.at_most(f"millionths of full scale off, {what}", TOLERANCE * 1e6, difference * 1e6),
    ]


def _separate(place: _Place, way: str) -> float:
    with Child("benchmarks.separator.hpss_alone", way) as child:
        answer = child.ask(
            track=str(place.track),
            harmonic=str(place.part(way, "harmonic")),
            percussive=str(place.part(way, "percussive")),
        )
    place.peak_mb.setdefault(way, []).append(answer["peak_mb"])
    took_s: float = answer["took_s"]
    return took_s


def _difference(place: _Place) -> float:
    largest = 0.0
    for part in ("harmonic", "percussive"):
        ours, theirs = (TrackReader(place.part(way, part)) for way in (SEGUE, LIBROSA))
        assert ours.samples == theirs.samples
        for own, other in zip(ours.blocks(), theirs.blocks(), strict=True):
            largest = max(largest, float(np.abs(own - other).max()))
    return largest


def _measure_loudness(place: _Place, rounds: int, findings: Findings) -> None:
    said: dict[str, tuple[float | None, float]] = {}

    def by_segue() -> float:
        began_s = time.perf_counter()
        track = TrackReader(place.track)
        meter = LoudnessMeter(track.rate_hz, track.channels)
        for block in track.blocks():
            meter.push(block)
        loudness: Loudness = meter.finish()
        said[SEGUE] = loudness.integrated_lufs, loudness.true_peak_dbtp
        return time.perf_counter() - began_s

    def by_ffmpeg() -> float:
        began_s = time.perf_counter()
        said[FFMPEG] = _ffmpegs_loudness(place.track)
        return time.perf_counter() - began_s

    by_segue()  # imports scipy's filters
    took_s = take_turns({SEGUE: by_segue, FFMPEG: by_ffmpeg}, rounds)
    for way, (lufs, peak_dbtp) in said.items():
        findings.add(
            LOUDNESS,
            {
                "track": f"{place.duration_s / 60:g} min",
                "by": way,
                "rounds": rounds,
                "seconds": median(took_s[way]),
                "x real time": place.duration_s / median(took_s[way]),
                "times faster": times_faster(took_s[FFMPEG], took_s[way]),
                "LUFS": f"{lufs:.2f}",
                "dBTP": f"{peak_dbtp:.2f}",
            },
        )


def _ffmpegs_loudness(track: Path) -> tuple[float, float]:
    """(LUFS, dBTP)"""
    filters = ["-af", "ebur128=peak=true:framelog=quiet", "-f", "null", "-"]
    command = [str(find_ffmpeg()), "-hide_banner", "-nostats", "-i", str(track), *filters]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    lufs, peak_dbtp = (re.findall(rf"{name}:\s+(\S+)", said)[-1] for name in ("I", "Peak"))
    return float(lufs), float(peak_dbtp)


if __name__ == "__main__":
    main()
