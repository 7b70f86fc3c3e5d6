"""What a prompt asks for, and what comes: tempo, key, style; and a melody that is followed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.starter.judges import Judges
from benchmarks.starter.player import Player
from benchmarks.starter.songs import CODEC_RATE_HZ, STEMS_HZ, Song
from deployments.audio.resample import resample
from deployments.audio.samples import Samples
from deployments.engines.analysis.mood.styles import STYLES
from deployments.engines.music.protocol import GenerationMode
from training.corpus.harmony import TONICS
from training.corpus.scores import mirex_key, tempo_accuracy_1, tempo_accuracy_2
from training.starter.chroma import pitch_classes

ASKED = Head(
    "words",
    "Asked in words alone",
    "Ten seconds from text. Tempo within 4 % (`Acc1`; `Acc2` with octaves), key by MIREX's weights, style by "
    "the analyser's. `chance` is the same takes judged by what the others were asked for, with its 95 % "
    "interval (permutations).",
)
MELODY = Head(
    "melody",
    "A melody followed",
    "The tune of a test song (all but drums and bass) as the melody, another style in words; the share of "
    "128 ms frames whose loudest pitch class is the tune's, beside the same words and seed without the "
    "melody.",
)
TEMPOS = (66, 76, 84, 92, 100, 110, 120, 128, 140, 152, 165)
NEW_S = 10.0
_PERMUTATIONS = 2000


def measure(findings: Findings, judges: Judges, player: Player, *, prompts: int) -> None:
    rng = np.random.default_rng(11)
    styles, keys, bpms, heard = [], [], [], []
    for number in range(prompts):
        style = STYLES[number % len(STYLES)]
        bpm = TEMPOS[int(rng.integers(len(TEMPOS)))]
        key = f"{TONICS[int(rng.integers(12))]} {'major' if rng.random() < 0.5 else 'minor'}"
        take = player.take(GenerationMode.TEXT, f"{style.name}, {bpm} bpm, {key}", NEW_S, 100 + number)
        styles.append(style.id)
        keys.append(key)
        bpms.append(float(bpm))
        heard.append(judges.analysis(take, player.rate_hz))

    def row(what: str, scores: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
        """`scores[i, j]`: take i judged by what take j was asked for."""
        own = float(np.diag(scores).mean())
        shuffled = [
            float(scores[np.arange(len(scores)), rng.permutation(len(scores))].mean())
            for _ in range(_PERMUTATIONS)
        ]
        low, high = np.percentile(shuffled, (2.5, 97.5))
        findings.add(
            ASKED,
            {
                "asked": what,
                "takes": len(scores),
                "kept": own,
                "chance": float(np.mean(shuffled)),
                "chance, from": float(low),
                "to": float(high),
            },
        )
        return own - float(high)

    def judged(score: object, asked: Sequence[object]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        assert callable(score)
        return np.array([[float(score(each, wish)) for wish in asked] for each in heard])

    tempo = judged(lambda each, wish: tempo_accuracy_2(each.rhythm.bpm, wish), bpms)
    row("tempo, Acc1", judged(lambda each, wish: tempo_accuracy_1(each.rhythm.bpm, wish), bpms))
    row("tempo, Acc2", tempo)
    above_key = row("key, MIREX", judged(lambda each, wish: mirex_key(each.key.name, wish), keys))
    above_style = row("style", judged(lambda each, wish: each.style.id == wish, styles))
    findings.targets += [
        Target.at_least("words: tempo (4 %, octave allowed)", 0.4, float(np.diag(tempo).mean())),
        Target.at_least("words: key above the interval of chance by", 0.0, above_key),
        Target.at_least("words: style above the interval of chance by", 0.0, above_style),
    ]


def measure_melody(findings: Findings, songs: Sequence[Song], player: Player) -> None:
    rows = []
    for number, song in enumerate(songs):
        tune = resample(song.stems(12.0, NEW_S)[2:].sum(0).mean(0, keepdims=True), STEMS_HZ, player.rate_hz)
        style = STYLES[(number + 3) % len(STYLES)].name
        own, other = (
            player.take(mode, style, NEW_S, 500 + number, context)
            for mode, context in ((GenerationMode.MELODY, tune), (GenerationMode.TEXT, None))
        )
        rows.append([_agreement(tune, take, player.rate_hz) for take in (own, other)])
    followed, alone = np.mean(rows, axis=0)
    findings.add(
        MELODY,
        {"mode": "melody", "takes": len(rows), "agreement": float(followed)},
        {"mode": "text", "takes": len(rows), "agreement": float(alone)},
    )
    findings.targets.append(
        Target.at_least("melody: agreement above the model's without it", 0.02, float(followed - alone))
    )


def _agreement(tune: Samples, take: Samples, rate_hz: int) -> float:
    one, other = (
        pitch_classes(resample(each, rate_hz, CODEC_RATE_HZ), CODEC_RATE_HZ).astype(int)
        for each in (tune, take)
    )
    frames = min(len(one), len(other))
    return float((one[:frames] == other[:frames]).mean())
