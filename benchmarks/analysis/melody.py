"""Melodies of clips whose truth is known, in whole mixes and alone: Segue's beside those of librosa's `pyin`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import librosa
import numpy as np
import numpy.typing as npt

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit.tables import Row
from deployments.audio.samples import Samples
from deployments.engines.analysis.clip import LISTENING_RATE_HZ
from deployments.engines.analysis.clip import Clip as Sound
from deployments.engines.analysis.pitch.crepe import Crepe
from deployments.engines.analysis.pitch.leading_voice import LeadingVoice
from deployments.engines.analysis.pitch.melody import HOP_S
from deployments.engines.common.device import Device
from training.corpus.clips import Clip, corpus_folder
from training.corpus.music import STRATA, compose_plan, draw_plan
from training.corpus.render import render
from training.corpus.scores import bootstrap_difference, raw_pitch_accuracy, share

LISTENED_S = 10.0
"""To the beginning of a clip: librosa takes a third of the time that the music does, and more."""

MELODY = Head(
    "melody",
    "Melody",
    f"Of clips' first {LISTENED_S:g} s: the share of the melody's frames whose pitch is told within 50 cents (raw "
    "pitch accuracy), and within 50 cents of it in any octave (raw chroma accuracy), with 95 % intervals. Frames "
    "that are told to be unvoiced count as wrong. In a mix, drums, bass and chords play along; `alone` is such a "
    "melody without them. librosa's is `pyin` from 65 Hz to 1.7 kHz.",
)

_Pitches = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Heard:
    """`truth`, `ours` and `librosas` are Hz, one for each hundredth of a second, None without a melody."""

    clip: Clip
    method: str
    truth: _Pitches
    ours: _Pitches
    librosas: _Pitches


def listen(clips: Iterable[Clip]) -> list[Heard]:
    """Both to the beginning of every clip in which there is a melody."""
    voice = LeadingVoice(Crepe("tiny", device=Device.CPU))
    heard = []
    for clip in clips:
        truth = clip.truth.melody_f0_hz[: round(LISTENED_S / HOP_S)]
        if not any(truth):
            continue
        samples = clip.samples(LISTENING_RATE_HZ)[: round(LISTENED_S * LISTENING_RATE_HZ)]
        melody = voice.follow(Sound(samples[None], LISTENING_RATE_HZ), is_given_up=lambda: False)
        assert melody is not None
        heard.append(Heard(clip, melody.method, truth, melody.f0_hz, pyin(samples)))
    return heard


def alone(clips: Iterable[Clip]) -> Iterator[Clip]:
    """Melodies of the same seeds, played by the same instruments, and nothing else; none for clips without one."""
    for clip in clips:
        plan = draw_plan(clip.seed, clip.stratum)
        if plan.melody_program is not None:
            piece = compose_plan(replace(plan, groove=None, comping=None, bass=None, pad_program=None))
            path = render(piece, corpus_folder())
            yield Clip(clip.seed, clip.stratum, "none", path, piece.truth)


def pyin(samples: Samples) -> _Pitches:
    """librosa's, of float32 [samples] at 22.05 kHz."""
    hop_samples = round(HOP_S * LISTENING_RATE_HZ)
    found: tuple[npt.NDArray[np.float64], ...] = librosa.pyin(
        samples, fmin=65.0, fmax=1700.0, sr=LISTENING_RATE_HZ, hop_length=hop_samples
    )
    f0_hz = found[0]
    hops_per_value = HOP_S * LISTENING_RATE_HZ / hop_samples  # not quite 1
    nearest = np.rint(np.arange((len(f0_hz) - 1) // hops_per_value) * hops_per_value).astype(int)
    return [float(hz) if hz > 0 else None for hz in f0_hz[nearest]]


def measure(findings: Findings, mixed: Sequence[Heard], by_themselves: Sequence[Heard]) -> None:
    """Rows for the table of melodies, and that ours are no worse."""
    groups = [("mixes", list(mixed))]
    groups += [
        (f"mixes: {stratum}", [each for each in mixed if each.clip.stratum == stratum]) for stratum in STRATA
    ]
    groups += [("alone", list(by_themselves))]
    for name, own in groups:
        if own:
            findings.add(MELODY, _row(name, own))
    for name, heard in (("in mixes", mixed), ("alone", by_themselves)):
        ours = [_accuracy(each, each.ours) for each in heard]
        theirs = [_accuracy(each, each.librosas) for each in heard]
        better = bootstrap_difference(ours, theirs).mean
        findings.targets.append(
            Target.at_least(f"melody {name}: pitch accuracy above librosa's by", 0.0, better)
        )


def _row(name: str, heard: Sequence[Heard]) -> Row:
    return {
        "clips": name,
        "number": len(heard),
        "method": heard[0].method,
        "pitch": share(heard, lambda each: _accuracy(each, each.ours)),
        "pitch, librosa": share(heard, lambda each: _accuracy(each, each.librosas)),
        "any octave": share(heard, lambda each: _chroma_accuracy(each, each.ours)),
        "any octave, librosa": share(heard, lambda each: _chroma_accuracy(each, each.librosas)),
    }


def _accuracy(each: Heard, pitches_hz: _Pitches) -> float:
    return raw_pitch_accuracy(pitches_hz, each.truth)


def _chroma_accuracy(each: Heard, pitches_hz: _Pitches) -> float:
    """As `_accuracy`, with every pitch moved into the octave of the true one."""
    moved = [
        hz * 2 ** round(math.log2(truth / hz)) if hz is not None and truth is not None else hz
        for hz, truth in zip(pitches_hz, each.truth, strict=False)
    ]
    return raw_pitch_accuracy(moved, each.truth)
