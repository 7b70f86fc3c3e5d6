"""The corpus: clips with what is true of them, in strata that take turns, as they are or spoiled."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import fftconvolve

from deployments.audio.resample import resample
from deployments.audio.samples import Samples
from deployments.export.ffmpeg import find_ffmpeg, run_ffmpeg
from training.corpus.music import STRATA, Truth, compose_plan, draw_plan
from training.corpus.render import RATE_HZ, render

DEV_SEEDS = range(4000)
"""For whatever is chosen or trained."""

TEST_SEEDS = range(10_000, 10_240)
"""For figures that are told, and nothing else."""

DEGRADATIONS = ("none", "mp3", "reverb", "detuned")
"""`mp3`: 64 kbit/s and back. `reverb`: a synthetic room of half a second to 1.2 s. `detuned`: 20 cents up or down,
tempo kept."""

DETUNED_CENTS = 20.0
_MP3_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Clip:
    """`path` is mono at 44.1 kHz."""

    seed: int
    stratum: str
    degradation: str
    path: Path
    truth: Truth

    def samples(self, rate_hz: int) -> Samples:
        """float32 [samples] at this rate."""
        samples: Samples = soundfile.read(self.path, dtype="float32")[0]
        mono: Samples = resample(samples[None], RATE_HZ, rate_hz)[0]
        return mono


def corpus_folder() -> Path:
    """Where renderings are kept from one run to the next; may be deleted at any time."""
    return Path(tempfile.gettempdir()) / "segue-corpus"


def clips(seeds: Iterable[int], folder: Path | None = None) -> Iterator[Clip]:
    """The clip of each seed: a seed decides stratum and degradation too, so that a range has all of them alike.

    Rendered where it is not in `folder` yet (`corpus_folder()` by default): about a second each. Raises
    RendererMissing.
    """
    for seed in seeds:
        stratum = STRATA[seed % len(STRATA)]
        degradation = DEGRADATIONS[seed // len(STRATA) % len(DEGRADATIONS)]
        yield make_clip(seed, stratum, degradation, folder)


def make_clip(seed: int, stratum: str, degradation: str = "none", folder: Path | None = None) -> Clip:
    """One clip. Raises ValueError for a stratum or degradation that is not known, RendererMissing."""
    if degradation not in DEGRADATIONS:
        raise ValueError(f"no such degradation: {degradation!r}")
    plan = draw_plan(seed, stratum)
    rng = np.random.default_rng((seed, 99))
    if degradation == "detuned":
        plan = replace(plan, tuning_cents=float(rng.choice((-DETUNED_CENTS, DETUNED_CENTS))))
    piece = compose_plan(plan)
    path = render(piece, folder or corpus_folder())
    if degradation == "mp3":
        path = kept(path, "mp3", _through_mp3)
    elif degradation == "reverb":
        path = kept(path, "reverb", lambda samples: _in_a_room(samples, rng))
    return Clip(seed, stratum, degradation, path, piece.truth)


def kept(path: Path, name: str, change: Callable[[Samples], Samples]) -> Path:
    """The file beside `path` with what `change` makes of its samples; made only once."""
    changed = path.with_name(f"{path.stem}-{name}.flac")
    if not changed.exists():
        samples: Samples = soundfile.read(path, dtype="float32")[0]
        with tempfile.TemporaryDirectory(dir=path.parent) as unfinished:
            made = Path(unfinished, changed.name)
            soundfile.write(made, change(samples), RATE_HZ, subtype="PCM_16")
            made.replace(changed)
    return changed


def _through_mp3(samples: Samples) -> Samples:
    """As long as before, and where it was: the encoder's delay is in its header, and the decoder takes it out."""
    with tempfile.TemporaryDirectory(prefix="segue-corpus-") as folder:
        source, encoded, decoded = (Path(folder, name) for name in ("a.wav", "a.mp3", "b.wav"))
        soundfile.write(source, samples, RATE_HZ, subtype="PCM_16")
        asyncio.run(_convert(source, encoded, ["-codec:a", "libmp3lame", "-b:a", "64k"]))
        asyncio.run(_convert(encoded, decoded, []))
        back: Samples = soundfile.read(decoded, dtype="float32")[0]
    same: Samples = np.pad(back, (0, max(0, len(samples) - len(back))))[: len(samples)]
    return same


async def _convert(source: Path, target: Path, options: list[str]) -> None:
    arguments = ["-y", "-loglevel", "error", "-i", str(source), *options, str(target)]
    await run_ffmpeg(arguments, ffmpeg=find_ffmpeg(), timeout_s=_MP3_TIMEOUT_S)


def _in_a_room(samples: Samples, rng: np.random.Generator) -> Samples:
    """With a decaying noise that loses its heights first, 3 to 9 dB under the direct sound."""
    decay_s = float(rng.uniform(0.5, 1.2))
    time_s = np.arange(round(decay_s * RATE_HZ)) / RATE_HZ
    noise = rng.standard_normal(len(time_s))
    dull = np.convolve(noise, np.ones(12) / 12, mode="same") * np.sqrt(12)
    share = np.clip(time_s / (0.5 * decay_s), 0, 1)
    tail = ((1 - share) * noise + share * dull) * 10 ** (-3 * time_s / decay_s)
    tail[: round(0.008 * RATE_HZ)] = 0
    tail *= 10 ** (-float(rng.uniform(3, 9)) / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1
    wet = fftconvolve(samples, tail)[: len(samples)]
    wet *= 0.7 / max(float(np.abs(wet).max()), 1e-6)
    in_a_room: Samples = wet.astype(np.float32)
    return in_a_room
