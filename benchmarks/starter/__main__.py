"""What the starter models are worth: `python -m benchmarks.starter [--quick] [--json FILE] [--listen FOLDER]`.

Needs FluidSynth and the test sound font (Debian's `libfluidsynth3` and `timgm6mb-soundfont`).
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit import machine
from benchmarks.kit.report import Report, options
from benchmarks.starter import codec, continuation, language, listening, separation, words
from benchmarks.starter.judges import Judges
from benchmarks.starter.player import Player
from benchmarks.starter.songs import test_songs
from configs.environment import load_settings
from deployments.engines.music.audiocraft.checkpoint import load_checkpoint
from deployments.engines.music.catalog import find
from deployments.engines.starter.weights import NAME
from training.corpus.render import RendererMissing

PACKAGES = ("torch", "audiocraft", "demucs", "librosa", "numpy")
SPEED = Head(
    "speed",
    "Speed",
    "All takes above, up to four at once, by the engine alone; separation by the engine alone.",
)


@dataclass(frozen=True, slots=True)
class Effort:
    songs: int
    codec_s: float
    language_s: float
    prompts: int
    separated: int
    separated_s: float


FULL = Effort(songs=32, codec_s=20.0, language_s=30.0, prompts=48, separated=16, separated_s=20.0)
QUICK = Effort(songs=2, codec_s=10.0, language_s=10.0, prompts=2, separated=1, separated_s=4.0)
LISTENED = 4


def main() -> None:
    parser = options("benchmarks.starter", "Measure the starter models on held-out songs.")
    parser.add_argument("--model", default=NAME, help="the generator: a name, or a checkpoint's folder")
    parser.add_argument("--separator", default=NAME, help="a name, or a folder of Demucs's packages")
    parser.add_argument("--listen", type=Path, metavar="FOLDER", help="write clips and takes, WAV and PNG")
    given = parser.parse_args()
    effort = QUICK if given.quick else FULL
    cache_dir = Path(load_settings().models.cache_dir)
    try:
        songs = list(test_songs(effort.songs))
    except RendererMissing as error:
        sys.exit(str(error))
    findings = Findings()
    about = {**machine.describe(PACKAGES), "model": given.model, "separator": given.separator}
    with asyncio.Runner() as runner:
        judges = Judges(runner, cache_dir)
        own, tiny = (_load(name, cache_dir) for name in (given.model, "tiny"))
        _begin("codec")
        codecs = {"starter": own.codec, "tiny": tiny.codec}
        codec.measure(findings, songs, judges, codecs, seconds=effort.codec_s)
        _begin("language")
        language.measure(findings, songs, own.codec, own.lm, seconds=effort.language_s)
        del own, tiny, codecs
        player = Player(runner, given.model, cache_dir)
        _begin("continuation")
        continuation.measure(findings, songs, judges, player)
        _begin("words")
        words.measure(findings, judges, player, prompts=effort.prompts)
        words.measure_melody(findings, songs, player)
        if given.listen is not None:
            listening.write(given.listen, songs[:LISTENED], player)
        player.close()
        _begin("separation")
        began_s = time.perf_counter()
        apart = songs[: effort.separated]
        separation.measure(findings, apart, runner, given.separator, cache_dir, seconds=effort.separated_s)
        separated_s = time.perf_counter() - began_s
        judges.close()
    speed = player.made_s / player.spent_s
    findings.add(
        SPEED,
        {"what": "generation", "times real time": speed},
        {"what": "separation", "times real time": effort.separated_s * len(apart) / separated_s},
    )
    findings.targets.append(Target.at_least("generation: times real time", 4.0, speed))
    Report("The starter models, measured", about, findings.tables(), given.quick).give(given.json)


def _load(name: str, cache_dir: Path) -> Any:
    return load_checkpoint(find(name), torch.device("cpu"), cache_dir)


def _begin(what: str) -> None:
    print(f"measuring: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
