"""How quick tempo, key, energy and melody are told, in turns with librosa."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median

import librosa
import torch

from benchmarks.analysis.melody import LISTENED_S, pyin
from benchmarks.analysis.plain_crepe import PlainCrepe
from benchmarks.analysis.rhythm import beat_track
from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit.tables import Row
from benchmarks.kit.turns import take_turns, timed, times_faster
from deployments.audio.samples import Samples
from deployments.engines.analysis.clip import Clip
from deployments.engines.analysis.energy import energy_curve
from deployments.engines.analysis.pitch.crepe import RATE_HZ as CREPE_RATE_HZ
from deployments.engines.analysis.pitch.crepe import Crepe
from deployments.engines.analysis.pitch.key import analyse_key
from deployments.engines.analysis.pitch.leading_voice import LeadingVoice
from deployments.engines.analysis.pitch.melody import HOP_S
from deployments.engines.analysis.rhythm.estimate import analyse_rhythm
from deployments.engines.analysis.rhythm.onsets import RATE_HZ
from deployments.engines.common.device import Device

SPEED = Head(
    "speed",
    "Speed",
    "The same clips by each in turns, samples at 22.05 kHz in memory; medians over the rounds. librosa has been "
    "warmed up (its first call compiles for seconds). `times librosa` compares a row with librosa's for the same: "
    "`beat_track`, and `beat_track` with `chroma_cqt`.",
)

MELODY_SPEED = Head(
    "melody_speed",
    "Speed of the melody",
    f"The first {LISTENED_S:g} s of some of these clips by each in turns. `plain` is CREPE's network as torchcrepe "
    "has it, one convolution after the other; Segue's does them in the spectrum. `times as quick` compares CREPE "
    "with the plain one, and the whole melody (crepe-tiny and salience) with librosa's `pyin`.",
)
_HOP_SAMPLES = round(HOP_S * CREPE_RATE_HZ)


def measure(findings: Findings, clips: Sequence[Samples], rounds: int) -> None:
    """Of float32 [samples] each, at `RATE_HZ`."""
    seconds = sum(len(samples) for samples in clips) / RATE_HZ
    contestants: dict[str, Callable[[Samples], object]] = {
        "tempo": analyse_rhythm,
        "tempo, key and energy": _ours,
        "librosa: beat_track": beat_track,
        "librosa: beat_track and chroma_cqt": _librosas,
    }
    said = _in_turns(contestants, clips, rounds)
    beside = {
        "tempo": "librosa: beat_track",
        "tempo, key and energy": "librosa: beat_track and chroma_cqt",
    }
    _tell(findings, SPEED, said, beside, seconds, "times librosa")
    whole = said["tempo, key and energy"]
    findings.targets += [
        Target.at_least("tempo, key and energy: times real time", 200, seconds / median(whole)),
        Target.at_least(
            "tempo, key and energy: times librosa",
            2,
            times_faster(said["librosa: beat_track and chroma_cqt"], whole),
        ),
    ]


def measure_melody(findings: Findings, clips: Sequence[Samples], rounds: int) -> None:
    """Of float32 [samples] each, at `RATE_HZ`."""
    beginnings = [samples[: round(LISTENED_S * RATE_HZ)] for samples in clips]
    seconds = sum(len(samples) for samples in beginnings) / RATE_HZ
    voice = LeadingVoice(Crepe("tiny", device=Device.CPU))
    said = _in_turns({"melody": partial(_follow, voice), "librosa: pyin": pyin}, beginnings, rounds)
    for_crepe = [Clip(samples[None], RATE_HZ).at(CREPE_RATE_HZ) for samples in beginnings]
    for size in ("tiny", "full"):
        crepe, plain = Crepe(size, device=Device.CPU), PlainCrepe(size)
        contestants: dict[str, Callable[[Samples], object]] = {
            f"crepe-{size}": partial(crepe.listen, hop_samples=_HOP_SAMPLES, is_given_up=lambda: False),
            f"crepe-{size}, plain": partial(plain.listen, hop_samples=_HOP_SAMPLES),
        }
        said |= _in_turns(contestants, for_crepe, rounds)
    beside = {
        "melody": "librosa: pyin",
        "crepe-tiny": "crepe-tiny, plain",
        "crepe-full": "crepe-full, plain",
    }
    _tell(findings, MELODY_SPEED, said, beside, seconds, "times as quick")


def _tell(
    findings: Findings,
    head: Head,
    said: Mapping[str, list[float]],
    beside: Mapping[str, str],
    seconds: float,
    ratio: str,
) -> None:
    """A row for each contestant: the seconds that it took, for so many of music. `beside` says whom the column
    `ratio` compares it with."""
    for name, values in said.items():
        row: Row = {
            "what": name,
            "seconds of music": seconds,
            "s": median(values),
            "times real time": seconds / median(values),
            ratio: times_faster(said[beside[name]], values) if name in beside else float("nan"),
        }
        findings.add(head, row)


def _in_turns(
    contestants: Mapping[str, Callable[[Samples], object]], clips: Sequence[Samples], rounds: int
) -> dict[str, list[float]]:
    """Seconds that each took for all clips, of each round; each is warmed up."""
    cpu = torch.device("cpu")

    def all_by(work: Callable[[Samples], object]) -> Callable[[], float]:
        return lambda: timed(lambda: [work(samples) for samples in clips], cpu)

    for work in contestants.values():
        work(clips[0])
    return take_turns({name: all_by(work) for name, work in contestants.items()}, rounds)


def _follow(voice: LeadingVoice, samples: Samples) -> None:
    voice.follow(Clip(samples[None], RATE_HZ), is_given_up=lambda: False)


def _ours(samples: Samples) -> None:
    analyse_key(samples, analyse_rhythm(samples))
    energy_curve(samples, RATE_HZ)


def _librosas(samples: Samples) -> None:
    beat_track(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        librosa.feature.chroma_cqt(y=samples, sr=RATE_HZ)
