from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deployments.engines.common.device import Device
from deployments.engines.common.errors import BadRequest, EngineBroken, ModelUnavailable
from deployments.engines.music.audiocraft.checkpoint import Checkpoint, load_checkpoint
from deployments.engines.music.catalog import find
from deployments.engines.music.protocol import GenerationMode, GenerationProgress
from deployments.engines.music.reference.engine import AudiocraftEngine
from tests.deployments.engines.loaded import chord, hear, level_db, make_request, model_cache, stock_engine
from tests.support.patience import PATIENCE_S, until

pytestmark = pytest.mark.torch

HOP = 640


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(find("tiny"), torch.device("cpu"), model_cache())


@contextmanager
def _noisy_neighbour() -> Iterator[None]:
    """Another thread that draws from every global generator there is."""
    stop = threading.Event()

    def draw() -> None:
        while not stop.is_set():
            torch.rand(4)
            random.random()
            time.sleep(0.0005)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def test_it_is_audiocraft_to_the_sample(checkpoint: Checkpoint) -> None:
    """The same audio as stock `MusicGen.generate_continuation` with torch's global seed."""
    from audiocraft.models import MusicGen

    context = chord(0.5)
    request = make_request(
        mode=GenerationMode.CONTINUE, context=context, duration_s=0.6, seed=11, cfg_coef=2.0, top_k=20
    )
    heard = await hear(stock_engine(), request)
    music = MusicGen("tiny", checkpoint.codec, checkpoint.lm, 30.0)
    music.set_generation_params(duration=1.3, top_k=20, cfg_coef=2.0)
    music.set_custom_progress_callback(lambda *_: None)
    with torch.random.fork_rng():
        torch.manual_seed(11)
        stock = music.generate_continuation(
            torch.from_numpy(context)[None], 32_000, [request.prompt], progress=True
        )
    prompt_samples = 25 * HOP
    ours = np.concatenate([heard.reconstruction, heard.audio], axis=1)
    assert heard.reconstruction.shape[1] == prompt_samples
    np.testing.assert_allclose(ours, stock[0, :, : ours.shape[1]].numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["tiny", "tiny-melody"])
async def test_other_threads_random_numbers_neither_matter_nor_change(name: str) -> None:
    engine = stock_engine(name)
    request = make_request(mode=GenerationMode.CONTINUE, context=chord(1.0), seed=5)
    quiet = await hear(engine, request)
    with _noisy_neighbour():
        noisy = await hear(engine, request)
    assert noisy.audio.tobytes() == quiet.audio.tobytes()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    await hear(engine, request)
    assert torch.equal(torch.rand(2), expected)


async def test_new_audio_goes_on_from_its_reconstruction_without_a_jump() -> None:
    heard = await hear(
        stock_engine(), make_request(mode=GenerationMode.CONTINUE, context=chord(4.0), duration_s=2.0)
    )
    assert abs(level_db(heard.reconstruction) - level_db(heard.audio)) < 3.0
    joint = np.concatenate([heard.reconstruction, heard.audio], axis=1)[0]
    steps = np.abs(np.diff(joint))
    at_seam = steps[heard.reconstruction.shape[1] - 2 : heard.reconstruction.shape[1] + 1].max()
    assert at_seam <= steps.max()
    assert heard.reconstruction.shape[1] == 3 * 32_000


async def test_the_end_is_not_the_codecs_edge() -> None:
    """More generation behind the end does not change what comes before it."""
    engine = stock_engine()
    for seed in range(3):
        short, long = [
            await hear(engine, make_request(duration_s=duration_s, seed=seed)) for duration_s in (0.3, 0.6)
        ]
        np.testing.assert_allclose(short.audio, long.audio[:, : short.audio.shape[1]], atol=1e-5)


async def test_decoding_from_near_the_seam_equals_decoding_it_all(checkpoint: Checkpoint) -> None:
    """The decoder's warm-up is long enough: a longer prompt before the same end leaves the same reconstruction."""
    context = chord(6.0)
    heard = await hear(
        stock_engine(), make_request(mode=GenerationMode.CONTINUE, context=context, duration_s=0.2)
    )
    with torch.no_grad():
        codes, _ = checkpoint.codec.encode(torch.from_numpy(context)[None])
        whole = checkpoint.codec.decode(codes)[0].numpy()
    margin = 6 * HOP  # what sees the new frames, or the edge
    np.testing.assert_allclose(heard.reconstruction[:, :-margin], whole[:, -3 * 32_000 : -margin], atol=1e-4)


@pytest.mark.parametrize("context_s", [29.98, 40.0])
async def test_a_context_of_a_whole_window_or_more_is_cut_and_continued(context_s: float) -> None:
    engine = stock_engine()
    info = await engine.info()
    context = chord(context_s)
    heard = await hear(engine, make_request(mode=GenerationMode.CONTINUE, context=context, duration_s=0.3))
    most = round(info.max_context_s * info.sample_rate_hz)
    same = await hear(
        engine, make_request(mode=GenerationMode.CONTINUE, context=context[:, -most:], duration_s=0.3)
    )
    assert heard.audio.shape == (1, 9600)
    assert heard.audio.tobytes() == same.audio.tobytes()


@pytest.mark.parametrize(("context_s", "duration_s"), [(0.0, 30.0), (29.0, 1.5)])
def test_a_window_and_more_keeps_length_level_and_progress(context_s: float, duration_s: float) -> None:
    request = make_request(mode=GenerationMode.CONTINUE, context=chord(context_s), duration_s=duration_s)
    fractions: list[float] = []
    take = stock_engine()._maker.make(request, fractions.append)
    assert take.audio.shape == (1, round(duration_s * 32_000))
    assert all(abs(level_db(part) + 20.0) < 2.0 for part in np.array_split(take.audio, 5, axis=1))
    assert fractions == sorted(set(fractions)), "progress stood still or went back"
    assert fractions[-1] == 1.0


async def test_a_melody_model_hears_the_melody_in_melody_and_continue() -> None:
    engine = stock_engine("tiny-melody")
    for mode in (GenerationMode.MELODY, GenerationMode.CONTINUE):
        low, high = [
            await hear(engine, make_request(mode=mode, context=chord(1.0, root_hz=root_hz)))
            for root_hz in (220.0, 415.0)
        ]
        assert low.audio.tobytes() != high.audio.tobytes()
    with pytest.raises(BadRequest, match="context"):
        await hear(engine, make_request(mode=GenerationMode.MELODY))
    with pytest.raises(BadRequest, match="640 samples"):
        await hear(engine, make_request(mode=GenerationMode.MELODY, context=chord(0.01)))


async def test_stereo_channels_are_two_different_voices() -> None:
    heard = await hear(stock_engine("tiny-stereo"), make_request())
    assert not np.array_equal(heard.audio[0], heard.audio[1])


async def test_the_event_loop_stays_free() -> None:
    task = asyncio.create_task(hear(stock_engine(), make_request(duration_s=2.0)))
    ticks = 0
    while not task.done():
        await asyncio.sleep(0.005)
        ticks += 1
    assert ticks > 5


async def test_output_that_is_not_finite_is_a_broken_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = stock_engine()
    codec = engine._maker._checkpoint.codec
    decode = codec.decode
    monkeypatch.setattr(codec, "decode", lambda *args: decode(*args) * float("nan"))
    with pytest.raises(EngineBroken, match="not finite"):
        await hear(engine, make_request())
    monkeypatch.undo()
    await engine.check_health()
    assert np.isfinite((await hear(engine, make_request())).audio).all()


class TestHealth:
    @pytest.fixture
    async def engine(self) -> AudiocraftEngine:
        return AudiocraftEngine(find("tiny"), cache_dir=model_cache(), device=Device.CPU, stuck_after_s=0.2)

    async def test_closing_refuses_new_takes_and_ends_running_ones(self, engine: AudiocraftEngine) -> None:
        running = asyncio.create_task(hear(engine, make_request(duration_s=100.0)))
        waiting = asyncio.create_task(hear(engine, make_request(duration_s=100.0)))
        await asyncio.sleep(0.05)
        await engine.close()
        for task in (running, waiting):
            with pytest.raises(EngineBroken, match="closed"):
                await task
        with pytest.raises(EngineBroken, match="closed"):
            await hear(engine, make_request())
        with pytest.raises(EngineBroken, match="closed"):
            await engine.check_health()

    async def test_a_stuck_step_shows(
        self, engine: AudiocraftEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reached, release = threading.Event(), threading.Event()
        codec = engine._maker._checkpoint.codec
        decode = codec.decode

        def stuck(*args: object) -> object:
            reached.set()
            release.wait(10)
            return decode(*args)

        monkeypatch.setattr(codec, "decode", stuck)
        task = asyncio.create_task(hear(engine, make_request(duration_s=0.1)))
        await asyncio.to_thread(reached.wait, 10)
        await asyncio.sleep(0.25)
        with pytest.raises(EngineBroken, match="no sign"):
            await engine.check_health()
        release.set()
        await task
        await engine.check_health()
        await engine.close()

    async def test_a_device_error_makes_it_unhealthy_for_good(
        self, engine: AudiocraftEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("CUDA error: device-side assert triggered")

        monkeypatch.setattr(engine._maker._checkpoint.codec, "decode", fail)
        with pytest.raises(EngineBroken, match="device-side assert"):
            await hear(engine, make_request())
        monkeypatch.undo()
        with pytest.raises(EngineBroken, match="device-side assert"):
            await engine.check_health()
        await engine.close()

    async def test_running_out_of_memory_is_survived(
        self, engine: AudiocraftEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(engine._maker._checkpoint.codec, "decode", fail)
        with pytest.raises(EngineBroken, match="out of memory"):
            await hear(engine, make_request())
        monkeypatch.undo()
        await engine.check_health()
        await engine.close()


async def test_queued_work_that_nobody_wants_never_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = stock_engine()
    made: list[str] = []
    make, go_on = engine._maker.make, threading.Event()

    def noting(request, on_progress):  # type: ignore[no-untyped-def]
        made.append(request.request_id)
        go_on.wait(PATIENCE_S)
        return make(request, on_progress)

    monkeypatch.setattr(engine._maker, "make", noting)
    first = asyncio.create_task(hear(engine, replace(make_request(), request_id="first")))
    second = asyncio.create_task(hear(engine, replace(make_request(), request_id="second")))
    await until(lambda: made == ["first"])
    second.cancel()
    go_on.set()
    await first
    await hear(engine, replace(make_request(), request_id="third"))
    assert made == ["first", "third"]


async def test_bfloat16_plays_at_the_same_level() -> None:
    engine = AudiocraftEngine(
        find("tiny-melody"), cache_dir=model_cache(), device=Device.CPU, dtype="bfloat16"
    )
    info = await engine.info()
    heard = await hear(engine, make_request(mode=GenerationMode.CONTINUE, context=chord(0.5), duration_s=1.0))
    await engine.close()
    assert info.dtype == "bfloat16"
    assert info.weights_sha256 == (await stock_engine("tiny-melody").info()).weights_sha256
    assert level_db(heard.audio) == pytest.approx(-20.0, abs=2.0)


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="float16 needs a GPU"):
        AudiocraftEngine(find("tiny"), cache_dir=tmp_path, device=Device.CPU, dtype="float16")
    with pytest.raises(ModelUnavailable, match="dtype must be"):
        AudiocraftEngine(find("tiny"), cache_dir=tmp_path, device=Device.CPU, dtype="int3")


async def test_progress_is_throttled() -> None:
    started_s = time.monotonic()
    heard = await hear(stock_engine(), make_request(duration_s=3.0))
    took_s = time.monotonic() - started_s
    progress = [event for event in heard.events if isinstance(event, GenerationProgress)]
    assert len(progress) <= took_s / 0.1 + 2
