"""Held-out clips that are continued: what is kept of tempo, key, beat and level; and what ranking is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit.tables import Row
from benchmarks.starter.judges import Judges, plain
from benchmarks.starter.player import Player
from benchmarks.starter.songs import CODEC_RATE_HZ, Song
from deployments.audio.levels import decibels_of_power
from deployments.audio.loudness import lufs, weighted_power
from deployments.audio.resample import resample
from deployments.audio.samples import Samples
from deployments.engines.analysis.adherence import Target as Asked
from deployments.engines.analysis.adherence import adherence
from deployments.engines.music.protocol import GenerationMode
from training.corpus.scores import mirex_key, tempo_accuracy_1, tempo_accuracy_2

CONTINUED = Head(
    "continuation",
    "Ten seconds continued by ten",
    "No prompt; four takes of each test song. By Segue's analyser: `Acc2` the song's tempo or an octave of "
    "it, `MIREX` the song's key, `phase` the median distance of the first four seconds' beats from the "
    "song's own is within 70 ms. By librosa: its own tempo and key. `level` is within 3 LU of the clip's "
    "end. `recording` is how the song really goes on, `another song` what chance would give.",
)
RANKED = Head(
    "ranking",
    "What the rank of a take is worth",
    "Of four takes of each song, the one that Segue's analyser ranks first for the song's tempo and key, and "
    "all four: judged by librosa, which the rank does not know.",
)
CLIP_S, NEW_S, START_S = 10.0, 10.0, 12.0
PHASE_S, LOOK_S = 0.07, 4.0
TAKES = 4
SILENT_DB, CLIPPED = -50.0, 0.999


@dataclass(frozen=True, slots=True)
class Heard:
    acc1: bool
    acc2: bool
    key: float
    in_phase: bool
    plain_acc2: bool
    plain_key: float
    level_lu: float
    is_silent: bool
    is_clipped: bool
    score: float

    def row(self) -> Row:
        return {
            "Acc1": float(self.acc1),
            "Acc2": float(self.acc2),
            "MIREX": self.key,
            "phase": float(self.in_phase),
            "Acc2, librosa": float(self.plain_acc2),
            "MIREX, librosa": self.plain_key,
            "level": float(abs(self.level_lu) <= 3),
            "silent": float(self.is_silent),
            "clipped": float(self.is_clipped),
        }


def measure(findings: Findings, songs: Sequence[Song], judges: Judges, player: Player) -> None:
    heard: dict[str, list[Heard]] = {"starter": [], "recording": [], "another song": []}
    first: list[Heard] = []
    for number, song in enumerate(songs):
        clip = song.mix(START_S, CLIP_S)
        context = resample(clip, CODEC_RATE_HZ, player.rate_hz)
        takes = player.takes(GenerationMode.CONTINUE, "", NEW_S, list(range(1, TAKES + 1)), context)
        own = [_listen(judges, song, clip, resample(take, player.rate_hz, CODEC_RATE_HZ)) for take in takes]
        heard["starter"] += own
        first.append(max(own, key=lambda take: take.score))
        other = songs[(number + 1) % len(songs)]
        for name, source in (("recording", song), ("another song", other)):
            heard[name].append(_listen(judges, song, clip, source.mix(START_S + CLIP_S, NEW_S)))
    for name, takes_heard in heard.items():
        findings.add(CONTINUED, {"continued by": name, "takes": len(takes_heard), **_means(takes_heard)})
    columns = ("Acc2, librosa", "MIREX, librosa")
    for name, chosen in (("ranked first", first), ("all", heard["starter"])):
        means = _means(chosen)
        findings.add(
            RANKED, {"takes": name, "number": len(chosen), **{each: means[each] for each in columns}}
        )
    ours = _means(heard["starter"])
    best, mean = (sum(_means(each)[column] for column in columns) for each in (first, heard["starter"]))
    findings.targets += [
        Target.at_least("continuation: tempo kept (Acc2)", 0.6, ours["Acc2"]),
        Target.at_least("continuation: key kept (MIREX)", 0.55, ours["MIREX"]),
        Target.at_least("continuation: beat within 70 ms", 0.6, ours["phase"]),
        Target.at_least("continuation: level within 3 LU", 1.0, ours["level"]),
        Target.at_most("continuation: silent takes", 0.0, ours["silent"]),
        Target.at_most("continuation: clipped takes", 0.0, ours["clipped"]),
        Target.at_least("ranking: first take above the mean (tempo and key, by librosa)", 0.0, best - mean),
    ]


def _listen(judges: Judges, song: Song, clip: Samples, take: Samples) -> Heard:
    analysis, other = judges.analysis(take, CODEC_RATE_HZ), plain(take, CODEC_RATE_HZ)
    ends = [lufs(weighted_power(each, CODEC_RATE_HZ)) for each in (clip[:, -3 * CODEC_RATE_HZ :], take)]
    seconds = take[0, : len(take[0]) // CODEC_RATE_HZ * CODEC_RATE_HZ].reshape(-1, CODEC_RATE_HZ)
    quietest = float(np.square(seconds, dtype=np.float64).mean(1).min())
    return Heard(
        acc1=tempo_accuracy_1(analysis.rhythm.bpm, song.bpm),
        acc2=tempo_accuracy_2(analysis.rhythm.bpm, song.bpm),
        key=mirex_key(analysis.key.name, song.key),
        in_phase=_is_in_phase(song, analysis.rhythm.beats_s),
        plain_acc2=tempo_accuracy_2(other.bpm, song.bpm),
        plain_key=mirex_key(other.key, song.key),
        level_lu=ends[1] - ends[0],
        is_silent=decibels_of_power(quietest) < SILENT_DB,
        is_clipped=bool((np.abs(take) > CLIPPED).any()),
        score=adherence(Asked(song.bpm, song.key), analysis).score or 0.0,
    )


def _is_in_phase(song: Song, beats_s: Sequence[float]) -> bool:
    grid = song.beats_s(START_S + CLIP_S)
    early = [beat for beat in beats_s if beat <= LOOK_S]
    if not early:
        return False
    return float(np.median([np.abs(grid - beat).min() for beat in early])) <= PHASE_S


def _means(heard: Sequence[Heard]) -> dict[str, float]:
    rows = [each.row() for each in heard]
    return {column: float(np.mean([float(row[column]) for row in rows])) for column in rows[0]}
