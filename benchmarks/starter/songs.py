"""The test songs: seeds and a sound font that no training has seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deployments.audio.samples import Samples
from training.corpus.clips import corpus_folder
from training.starter.composer.render import RATE_HZ as STEMS_HZ
from training.starter.songs import CODEC_RATE_HZ, TEST_SEEDS, finished, make_songs, stems_of, truth_of


@dataclass(frozen=True, slots=True)
class Song:
    """`truth` is `SongTruth` as JSON has it."""

    path: Path
    truth: dict[str, Any]

    @property
    def bpm(self) -> float:
        return float(self.truth["bpm"])

    @property
    def key(self) -> str:
        return str(self.truth["key"])

    def mix(self, start_s: float, duration_s: float) -> Samples:
        """float32 [1, samples] at `CODEC_RATE_HZ`."""
        first, count = (round(each * CODEC_RATE_HZ) for each in (start_s, duration_s))
        whole = np.load(self.path, mmap_mode="r")[first : first + count]
        mono: Samples = whole.astype(np.float32)[None] / np.float32(32768)
        return mono

    def stems(self, start_s: float, duration_s: float) -> Samples:
        """float32 [4, 2, samples] at `STEMS_HZ`: drums, bass, other, vocals."""
        return stems_of(self.path, start_s, duration_s)

    def beats_s(self, start_s: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Seconds from `start_s` on; those before it are negative."""
        return np.asarray(self.truth["beats_s"], np.float64) - start_s


def test_songs(count: int) -> Iterator[Song]:
    """The first test songs, rendered where they are not kept from an earlier run. Raises RendererMissing."""
    runs = corpus_folder() / "starter"
    folder = make_songs(runs, range(TEST_SEEDS.start, TEST_SEEDS.start + count), test=True)
    for path in finished(folder)[:count]:
        yield Song(path, truth_of(path))


__all__ = ["CODEC_RATE_HZ", "STEMS_HZ", "Song", "test_songs"]
