"""One separator in a process of its own: `python -m benchmarks.separator.alone MODEL`.

Asked `{track}` it separates the file into stems, and answers with the seconds that took, and with the megabytes:
what its memory was before, and the most that it ever was.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.kit.child import answer_questions
from benchmarks.kit.memory import most_resident_mb, resident_mb
from configs.environment import load_settings
from deployments.audio.track import TrackReader, TrackWriter
from deployments.engines.common.device import Device
from deployments.engines.separation.catalog import SeparatorOptions, find
from deployments.engines.separation.load import load
from deployments.engines.separation.protocol import Separator
from deployments.engines.separation.track import separate_track


async def main(model: str) -> None:
    engine = await asyncio.to_thread(
        load,
        find(model),
        cache_dir=Path(load_settings().models.cache_dir),
        options=SeparatorOptions(device=Device.CPU),
    )
    await engine.warm_up()

    async def answer(question: dict[str, str]) -> dict[str, float]:
        before_mb, began_s = resident_mb(), time.perf_counter()
        await _separate(engine, TrackReader(Path(question["track"])))
        took_s = time.perf_counter() - began_s
        return {"took_s": took_s, "before_mb": before_mb, "peak_mb": most_resident_mb()}

    await answer_questions(answer)
    await engine.close()


async def _separate(engine: Separator, track: TrackReader) -> None:
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder, ExitStack() as stack:
        writers: dict[str, TrackWriter] = {}
        async for stretch in separate_track(engine, track):
            for name, samples in stretch.items():
                if name not in writers:
                    writer = TrackWriter(Path(folder, f"{name}.wav"), track.rate_hz, track.channels)
                    writers[name] = stack.enter_context(writer)
                writers[name].append(samples)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
