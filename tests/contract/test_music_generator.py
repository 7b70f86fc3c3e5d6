"""What every `MusicGenerator` owes its caller, whichever engine it is."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from deployments.engines.common.errors import BadRequest
from deployments.engines.music.mock import MockEngine
from deployments.engines.music.protocol import Engine, GenerationMode, GenerationProgress, Prefilled, Segment
from tests.deployments.engines.loaded import chord, hear, make_request, stock_engine, tiny_engine
from tests.support.patience import PATIENCE_S

ENGINES: dict[str, Callable[[], Engine]] = {
    "mock": MockEngine,
    "mock-stereo": lambda: MockEngine(channels=2),
    "mock-slow": lambda: MockEngine(step_delay_s=0.005),
    "tiny": lambda: tiny_engine("tiny"),
    "tiny-melody": lambda: tiny_engine("tiny-melody"),
    "tiny-stereo": lambda: tiny_engine("tiny-stereo"),
    "audiocraft": lambda: stock_engine("tiny"),
    "audiocraft-melody": lambda: stock_engine("tiny-melody"),
    "audiocraft-stereo": lambda: stock_engine("tiny-stereo"),
}

LONG_S = 300.0
"""audiocraft, which makes one take at a time, needs half a minute for it."""

pytestmark = pytest.mark.torch


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]()


def _imitates(engine: Engine) -> bool:
    return isinstance(engine, MockEngine)


@pytest.mark.parametrize("duration_s", [0.1, 0.33333, 1.0, 1.00001])
async def test_new_audio_has_exactly_the_asked_length(engine: Engine, duration_s: float) -> None:
    info = await engine.info()
    heard = await hear(engine, make_request(duration_s=duration_s))
    assert heard.audio.shape == (info.channels, math.ceil(duration_s * info.sample_rate_hz))
    assert heard.audio.dtype == np.float32


async def test_events_come_in_order_and_progress_rises_to_one(engine: Engine) -> None:
    heard = await hear(engine, make_request(duration_s=1.5))
    kinds = [type(event) for event in heard.events if not isinstance(event, GenerationProgress)]
    assert kinds[0] is Prefilled
    assert set(kinds[1:]) == {Segment}
    assert heard.progress == sorted(heard.progress)
    assert heard.progress[0] >= 0.0
    assert heard.progress[-1] == 1.0


async def test_segments_are_short_enough_to_stream(engine: Engine) -> None:
    info = await engine.info()
    heard = await hear(engine, make_request(duration_s=2.5))
    sizes = [event.samples.shape[1] for event in heard.events if isinstance(event, Segment)]
    assert 0 < min(sizes) <= max(sizes) <= info.sample_rate_hz
    assert sum(sizes) == math.ceil(2.5 * info.sample_rate_hz)


@pytest.mark.parametrize("mode", list(GenerationMode))
async def test_every_mode_works_or_is_refused(engine: Engine, mode: GenerationMode) -> None:
    info = await engine.info()
    request = make_request(mode=mode, context=chord(1.0, info.channels))
    if mode not in info.modes:
        with pytest.raises(BadRequest, match=mode):
            await hear(engine, request)
        return
    audio = (await hear(engine, request)).audio
    assert np.isfinite(audio).all()
    assert 0.001 < np.abs(audio).max() < 1.0


async def test_same_request_gives_same_bytes(engine: Engine) -> None:
    info = await engine.info()
    request = make_request(mode=GenerationMode.CONTINUE, context=chord(0.5, info.channels))
    first, second = [await hear(engine, request) for _ in range(2)]
    assert info.reproducible
    assert first.audio.tobytes() == second.audio.tobytes()
    assert first.reconstruction.tobytes() == second.reconstruction.tobytes()


async def test_another_seed_gives_other_bytes(engine: Engine) -> None:
    first, second = [await hear(engine, make_request(seed=seed)) for seed in (1, 2**32 - 1)]
    assert first.audio.tobytes() != second.audio.tobytes()


async def test_another_prompt_gives_other_bytes(engine: Engine) -> None:
    # A tiny model hardly minds its words: with the same noise it takes a while until another token is drawn.
    first, second = [
        await hear(engine, make_request(prompt=prompt, duration_s=2.0))
        for prompt in ("slow jazz", "fast techno")
    ]
    assert first.audio.tobytes() != second.audio.tobytes()


async def test_takes_at_the_same_time_do_not_mix(engine: Engine) -> None:
    info = await engine.info()
    requests = [
        make_request(seed=3, cfg_coef=1.0, temperature=0.7, top_k=5),
        make_request(seed=4, mode=GenerationMode.CONTINUE, context=chord(0.5, info.channels)),
        make_request(seed=5, duration_s=0.7, top_k=0, top_p=0.9, prompt=""),
        make_request(seed=6, duration_s=0.2, temperature=0.0),
    ]
    alone = [(await hear(engine, request)).audio.tobytes() for request in requests]
    together = await asyncio.gather(*(hear(engine, request) for request in requests))
    assert [heard.audio.tobytes() for heard in together] == alone


@pytest.mark.parametrize("context_s", [0.1, 1.0, 5.0])
async def test_reconstruction_is_the_end_of_the_context(engine: Engine, context_s: float) -> None:
    info = await engine.info()
    context = chord(context_s, info.channels)
    heard = await hear(engine, make_request(mode=GenerationMode.CONTINUE, context=context))
    samples = heard.reconstruction.shape[1]
    assert heard.reconstruction.dtype == np.float32
    assert heard.reconstruction.shape[0] == info.channels
    assert min(context_s, 3.0) - 0.02 <= samples / info.sample_rate_hz <= context_s
    if _imitates(engine):
        np.testing.assert_array_equal(heard.reconstruction, context[:, -samples:])


@pytest.mark.parametrize("mode", [GenerationMode.TEXT, GenerationMode.COMPOSE, GenerationMode.CONTINUE])
async def test_without_an_audio_prompt_there_is_no_reconstruction(
    engine: Engine, mode: GenerationMode
) -> None:
    info = await engine.info()
    heard = await hear(engine, make_request(mode=mode))
    assert heard.reconstruction.shape == (info.channels, 0)


async def test_continue_without_context_is_the_same_as_text(engine: Engine) -> None:
    info = await engine.info()
    text = await hear(engine, make_request())
    for context in (None, np.zeros((info.channels, 0), np.float32)):
        heard = await hear(engine, make_request(mode=GenerationMode.CONTINUE, context=context))
        assert heard.audio.tobytes() == text.audio.tobytes()


async def test_context_is_left_as_it_is_and_may_be_read_only(engine: Engine) -> None:
    info = await engine.info()
    context = chord(0.5, info.channels)
    before = context.tobytes()
    context.setflags(write=False)
    heard = await hear(engine, make_request(mode=GenerationMode.CONTINUE, context=context))
    heard.audio[:] = 0.0
    assert context.tobytes() == before


async def test_closing_the_iterator_stops_the_work(engine: Engine) -> None:
    if isinstance(engine, MockEngine):
        engine = MockEngine(step_delay_s=2.0)
    events = aiter(engine.generate(make_request(duration_s=LONG_S)))
    assert isinstance(await anext(events), GenerationProgress)
    await events.aclose()  # type: ignore[attr-defined]
    if not _imitates(engine):
        async with asyncio.timeout(PATIENCE_S / 2):  # the rest would take longer
            await hear(engine, make_request(duration_s=0.1))


async def test_cancelling_the_task_stops_the_work_and_leaves_no_trace(engine: Engine) -> None:
    info = await engine.info()
    request = make_request(mode=GenerationMode.CONTINUE, context=chord(0.5, info.channels))
    before = await hear(engine, request)
    running = asyncio.create_task(hear(engine, make_request(duration_s=LONG_S, temperature=3.0)))
    waiting = asyncio.create_task(hear(engine, make_request(duration_s=LONG_S)))
    await asyncio.sleep(0 if _imitates(engine) else 0.1)
    for task in (running, waiting):
        task.cancel()
    results = await asyncio.gather(running, waiting, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    async with asyncio.timeout(PATIENCE_S):  # the two would take longer
        after = await hear(engine, request)
    assert after.audio.tobytes() == before.audio.tobytes()


@pytest.mark.parametrize(
    "faults",
    [
        {"duration_s": 0.0},
        {"duration_s": -1.0},
        {"duration_s": math.nan},
        {"duration_s": 1e6},
        {"temperature": math.nan},
        {"temperature": -0.1},
        {"cfg_coef": math.inf},
        {"top_k": -1},
        {"top_p": 1.5},
        {"seed": -1},
        {"seed": 2**32},
    ],
    ids=str,
)
async def test_requests_out_of_range_are_refused(engine: Engine, faults: dict[str, float]) -> None:
    with pytest.raises(BadRequest, match=next(iter(faults))):
        await hear(engine, make_request(**faults))  # type: ignore[arg-type]


async def test_contexts_of_the_wrong_shape_or_with_nan_are_refused(engine: Engine) -> None:
    info = await engine.info()
    nan = chord(0.5, info.channels)
    nan[0, 100] = np.nan
    for context in (chord(0.5, info.channels + 1), np.zeros(16_000, np.float32), nan):
        with pytest.raises(BadRequest, match="context"):
            await hear(engine, make_request(mode=GenerationMode.CONTINUE, context=context))


async def test_info_can_be_written_as_json(engine: Engine) -> None:
    info = await engine.info()
    described = json.loads(json.dumps(info.describe()))
    assert described["modes"] == [mode.value for mode in info.modes]
    assert len(described["weights_sha256"]) == 64


async def test_warm_up_and_health_check_pass_on_a_healthy_engine(engine: Engine) -> None:
    await engine.warm_up()
    await engine.check_health()
