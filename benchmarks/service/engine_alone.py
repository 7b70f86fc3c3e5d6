"""The engine alone, in a process of its own: `python -m benchmarks.service.engine_alone MODEL`.

Asked `{duration_s, seed, context_s}` it makes one take and answers with the seconds that it took.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.kit.child import answer_questions
from configs.environment import load_settings
from deployments.engines.common.device import Device
from deployments.engines.music import catalog as registry
from deployments.engines.music.load import load
from deployments.engines.music.protocol import GenerationMode, GenerationRequest, Sampling
from tests.support.clips import music

THREADS = 1
"""torch's threads, here and in the service's replica: Ray gives a replica of half a CPU one."""


NICENESS = 15
"""Ray's own for its workers: what else runs on the machine gets in the way of both alike."""


async def main(model: str) -> None:
    os.nice(NICENESS)
    engine = await asyncio.to_thread(
        load,
        registry.find(model),
        cache_dir=Path(load_settings().models.cache_dir),
        options=registry.EngineOptions(device=Device.CPU, threads=THREADS),
    )
    await engine.warm_up()
    info = await engine.info()

    async def take(question: dict[str, Any]) -> float:
        context = music(question["context_s"], info.sample_rate_hz, info.channels)
        request = GenerationRequest(
            request_id="alone",
            mode=GenerationMode.CONTINUE,
            prompt=question["prompt"],
            duration_s=question["duration_s"],
            sampling=Sampling(seed=question["seed"]),
            context=context,
        )
        began_s = time.perf_counter()
        async for _ in engine.generate(request):
            pass
        return time.perf_counter() - began_s

    await answer_questions(take)
    await engine.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
