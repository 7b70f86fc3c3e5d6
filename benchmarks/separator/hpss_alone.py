"""One way to separate a track, in a process of its own: `python -m benchmarks.separator.hpss_alone WAY`.

Asked `{track, harmonic, percussive}` it separates the first file into the two others, and answers with the seconds
that took, and with the megabytes: the most its memory ever was, less what it was before.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from librosa.effects import hpss

from benchmarks.kit.child import answer_questions
from benchmarks.kit.memory import most_resident_mb, resident_mb
from deployments.audio.hpss import Parts, StreamingHpss
from deployments.audio.track import TrackReader, TrackWriter
from tests.support.clips import music

SEGUE, LIBROSA = "segue", "librosa"

Way = Callable[[TrackReader], Iterator[Parts]]


def by_segue(track: TrackReader) -> Iterator[Parts]:
    """As the pipeline does it: a block at a time."""
    stream = StreamingHpss(track.channels)
    for block in track.blocks():
        yield stream.push(block)
    yield stream.finish()


def by_librosa(track: TrackReader) -> Iterator[Parts]:
    yield Parts(*hpss(track.read(0, track.samples)))


WAYS: dict[str, Way] = {SEGUE: by_segue, LIBROSA: by_librosa}


async def main(name: str) -> None:
    # What librosa imports at its first use is none of a track's; both have it, so both stand on the same memory.
    hpss(np.ascontiguousarray(music(0.5)))

    async def separate(question: dict[str, str]) -> dict[str, float]:
        track = TrackReader(Path(question["track"]))
        before_mb, began_s = resident_mb(), time.perf_counter()
        form = track.rate_hz, track.channels
        with (
            TrackWriter(Path(question["harmonic"]), *form) as harmonic,
            TrackWriter(Path(question["percussive"]), *form) as percussive,
        ):
            for parts in WAYS[name](track):
                harmonic.append(parts.harmonic)
                percussive.append(parts.percussive)
        took_s = time.perf_counter() - began_s
        return {"took_s": took_s, "peak_mb": most_resident_mb() - before_mb}

    await answer_questions(separate)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
