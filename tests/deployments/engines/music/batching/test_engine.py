from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deployments.engines.common.errors import BadRequest, EngineBroken, EngineBusy, ModelUnavailable
from deployments.engines.music.batching.conditions import Conditioner
from deployments.engines.music.batching.decoder import Decoder
from deployments.engines.music.batching.engine import SegueEngine
from deployments.engines.music.batching.take import Take
from deployments.engines.music.catalog import find
from deployments.engines.music.meter import BatchState
from deployments.engines.music.protocol import (
    GenerationMode,
    GenerationProgress,
    GenerationRequest,
    Prefilled,
    Segment,
)
from tests.deployments.engines.loaded import (
    TINY,
    Heard,
    chord,
    hear,
    level_db,
    make_request,
    model_cache,
    stock_engine,
    tiny_engine,
)
from tests.support.patience import until

pytestmark = pytest.mark.torch

HOP = 640


class Notes:
    """A meter that keeps what it is told."""

    def __init__(self) -> None:
        self.states: list[BatchState] = []
        self.first_steps: list[int] = []
        self.waited_s: list[float] = []
        self.finished_count = 0
        self.let_go_s: list[float] = []

    def stepped(self, state: BatchState, *, seconds: float) -> None:
        self.states.append(state)

    def admitted(self, *, waited_s: float) -> None:
        self.waited_s.append(waited_s)

    def first_audio(self, *, after_s: float, steps: int) -> None:
        self.first_steps.append(steps)

    def finished(self, *, audio_s: float, after_s: float) -> None:
        self.finished_count += 1

    def let_go(self, *, after_s: float) -> None:
        self.let_go_s.append(after_s)


class NotesOfAListener(Notes):
    """Holds the batch after its first audio until that has been heard."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = threading.Event()

    def stepped(self, state: BatchState, *, seconds: float) -> None:
        super().stepped(state, seconds=seconds)
        if self.first_steps:
            self.heard.wait(20.0)


@asynccontextmanager
async def _engine(
    notes: Notes | None = None, model: str = "tiny", **options: Any
) -> AsyncIterator[SegueEngine]:
    stuck_after_s = options.pop("stuck_after_s", 180.0)
    engine = SegueEngine(
        find(model),
        cache_dir=model_cache(),
        options=replace(TINY, **options),
        meter=notes,
        stuck_after_s=stuck_after_s,
    )
    try:
        yield engine
    finally:
        await engine.close()


def _continue(
    duration_s: float = 0.4, context_s: float = 1.0, channels: int = 1, **more: Any
) -> GenerationRequest:
    return make_request(
        mode=GenerationMode.CONTINUE, context=chord(context_s, channels), duration_s=duration_s, **more
    )


@pytest.mark.parametrize(
    ("model", "mode", "context_s", "duration_s"),
    [
        ("tiny", GenerationMode.TEXT, 0.0, 4.5),
        ("tiny", GenerationMode.CONTINUE, 2.0, 1.0),
        ("tiny-stereo", GenerationMode.CONTINUE, 1.0, 1.0),
        ("tiny-melody", GenerationMode.TEXT, 0.0, 0.5),
        ("tiny-melody", GenerationMode.MELODY, 1.5, 0.5),
        ("tiny-melody", GenerationMode.CONTINUE, 1.5, 0.5),
    ],
)
async def test_greedy_takes_are_audiocrafts(
    model: str, mode: GenerationMode, context_s: float, duration_s: float
) -> None:
    """The same samples from audiocraft's own generate and decode, whatever the take is conditioned on."""
    engine, reference = tiny_engine(model), stock_engine(model)
    channels = (await engine.info()).channels
    context = chord(context_s, channels) if context_s else None
    request = make_request(mode=mode, context=context, duration_s=duration_s, temperature=0.0)
    ours, expected = await hear(engine, request), await hear(reference, request)
    np.testing.assert_allclose(ours.audio, expected.audio, atol=1e-4)
    np.testing.assert_allclose(ours.reconstruction, expected.reconstruction, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "context_s", "duration_s"),
    [
        ("tiny", 0.0, 36.0),
        pytest.param("tiny", 0.0, 50.0, marks=pytest.mark.slow),
        pytest.param("tiny", 25.0, 30.0, marks=pytest.mark.slow),
        pytest.param("tiny-melody", 2.0, 32.0, marks=pytest.mark.slow),
    ],
)
async def test_past_the_window_greedy_takes_are_audiocrafts(
    model: str, context_s: float, duration_s: float
) -> None:
    context = chord(context_s) if context_s else None
    request = make_request(
        mode=GenerationMode.CONTINUE, context=context, duration_s=duration_s, temperature=0.0
    )
    ours, expected = await hear(tiny_engine(model), request), await hear(stock_engine(model), request)
    np.testing.assert_allclose(ours.audio, expected.audio, atol=1e-4)


async def test_a_stride_of_ones_own_is_audiocrafts_extend_stride() -> None:
    from audiocraft.models import MusicGen

    from deployments.engines.music.audiocraft.checkpoint import load_checkpoint

    async with _engine(extend_stride_s=25.0) as engine:
        heard = await hear(engine, make_request(duration_s=40.0, temperature=0.0))
    checkpoint = load_checkpoint(find("tiny"), torch.device("cpu"), model_cache())
    music = MusicGen("tiny", checkpoint.codec, checkpoint.lm, 30.0)
    music.set_generation_params(duration=40.2, use_sampling=False, extend_stride=25.0)
    music.set_custom_progress_callback(lambda *_: None)
    expected = music.generate(["slow jazz piano"], progress=True)[0].numpy()
    np.testing.assert_allclose(heard.audio, expected[:, : heard.audio.shape[1]], atol=1e-4)


class TestCompany:
    """What a take gets does not depend on what else is under way."""

    @pytest.mark.parametrize("model", ["tiny", "tiny-melody", "tiny-stereo"])
    async def test_eight_takes_that_overlap_are_each_as_alone(self, model: str) -> None:
        engine = tiny_engine(model)
        channels = (await engine.info()).channels
        requests = [
            make_request(seed=3, cfg_coef=1.0, temperature=0.7, top_k=5, duration_s=1.2),
            _continue(1.5, 0.5, channels, seed=4),
            make_request(seed=5, duration_s=0.7, top_k=0, top_p=0.9, prompt=""),
            make_request(seed=6, duration_s=0.2, temperature=0.0),
            _continue(0.9, 5.5, channels, seed=9),
            _continue(0.9, 5.5, channels, seed=10),
            make_request(seed=11, duration_s=2.0, cfg_coef=7.5, prompt="fast techno with a very long prompt"),
            _continue(0.5, 2.0, channels, seed=12, top_k=1),
        ]
        alone = [await hear(engine, request) for request in requests]

        async def later(index: int, request: GenerationRequest) -> Heard:
            await asyncio.sleep(0.013 * index)
            return await hear(engine, request)

        together = await asyncio.gather(*(later(*item) for item in enumerate(requests)))
        for one, other in zip(alone, together, strict=True):
            assert other.audio.tobytes() == one.audio.tobytes()
            assert other.reconstruction.tobytes() == one.reconstruction.tobytes()

    async def test_a_restarted_engine_gives_the_same_bytes(self) -> None:
        request = _continue(1.0, seed=77)
        first = await hear(tiny_engine(), request)
        async with _engine() as other:
            assert (await hear(other, request)).audio.tobytes() == first.audio.tobytes()

    async def test_takes_of_one_request_share_a_prefill(self, monkeypatch: pytest.MonkeyPatch) -> None:
        taken_in: list[int] = []
        prefill = Decoder.prefill

        def counting(self: Decoder, x: torch.Tensor, cache: Any) -> torch.Tensor:
            taken_in.append(x.shape[1])
            return prefill(self, x, cache)

        requests = [_continue(1.0, 4.0, seed=seed) for seed in range(4)]
        async with _engine() as engine:
            alone = [await hear(engine, request) for request in requests]
            monkeypatch.setattr(Decoder, "prefill", counting)
            together = await asyncio.gather(*(hear(engine, request) for request in requests))
        assert sum(taken_in) == 4.0 * 50 + 1
        assert [heard.audio.tobytes() for heard in together] == [heard.audio.tobytes() for heard in alone]
        assert len({heard.audio.tobytes() for heard in together}) == 4


class TestStreaming:
    async def test_first_audio_is_due_twelve_steps_after_the_context(self) -> None:
        notes = Notes()
        async with _engine(notes) as engine:
            await hear(engine, make_request(duration_s=1.0))
            await hear(engine, _continue(1.0, 3.5))
        assert max(notes.first_steps) <= 12

    async def test_audio_comes_while_the_rest_is_being_made(self) -> None:
        notes = NotesOfAListener()
        async with _engine(notes) as engine:
            async for event in engine.generate(_continue(6.0)):
                if isinstance(event, Segment) and not notes.heard.is_set():
                    assert notes.finished_count == 0
                    notes.heard.set()
        assert notes.finished_count == 1

    async def test_a_longer_take_begins_with_the_same_samples(self) -> None:
        """What is heard first does not wait for what comes later."""
        short, long = [(await hear(tiny_engine(), _continue(duration_s))).audio for duration_s in (1.0, 3.0)]
        whole_chunks = 45 * HOP
        assert short[:, :whole_chunks].tobytes() == long[:, :whole_chunks].tobytes()

    async def test_the_reconstruction_comes_right_before_the_first_segment(self) -> None:
        heard = await hear(tiny_engine(), _continue(2.0, 2.0))
        kinds = [type(event) for event in heard.events if not isinstance(event, GenerationProgress)]
        assert kinds[:2] == [Prefilled, Segment]
        joint = np.concatenate([heard.reconstruction, heard.audio], axis=1)[0]
        steps = np.abs(np.diff(joint))
        seam = heard.reconstruction.shape[1]
        assert steps[seam - 2 : seam + 1].max() <= steps.max()
        assert abs(level_db(heard.reconstruction) - level_db(heard.audio)) < 3.0


class TestRoom:
    """Admission, cancellation and what becomes of the memory."""

    async def test_keys_and_values_take_what_they_need_and_go_with_their_take(self) -> None:
        notes = Notes()
        async with _engine(notes) as engine:
            await hear(engine, _continue(1.0, 2.0))
            await until(lambda: notes.states[-1].takes == 0)
        # 100 prompt frames, 50 new, 4 looked ahead, 3 of delay, and the column of special tokens that the
        # model is given first; the last column is not taken in.
        positions, bytes_per_position = 100 + 50 + 4 + 3, 2 * 2 * 2 * 32 * 4
        assert max(state.kv_bytes for state in notes.states) == positions * bytes_per_position
        assert notes.states[-1] == BatchState(0, 0, 0, 0, notes.states[0].kv_budget_bytes)

    async def test_takes_wait_for_room_and_come_in_their_order(self) -> None:
        notes = Notes()
        needed = (50 + 7) * 2 * 2 * 2 * 32 * 4
        async with _engine(notes, kv_bytes=2 * needed) as engine:
            order: list[int] = []

            async def take(seed: int) -> None:
                await hear(engine, make_request(duration_s=1.0, seed=seed))
                order.append(seed)

            tasks = []
            for seed in range(5):
                tasks.append(asyncio.create_task(take(seed)))
                await asyncio.sleep(0)
            await asyncio.gather(*tasks)
        assert max(state.takes for state in notes.states) == 2
        assert max(state.kv_bytes for state in notes.states) <= 2 * needed
        assert sorted(order) == order

    async def test_what_can_never_fit_is_refused_with_the_reason(self) -> None:
        async with _engine(kv_bytes=100_000) as engine:
            with pytest.raises(BadRequest, match=r"needs \d+ bytes.*has 100000.*duration_s"):
                await hear(engine, make_request(duration_s=20.0))
            assert (await hear(engine, make_request(duration_s=0.2))).audio.shape[1] == 6400

    async def test_too_many_waiting_takes_are_turned_away(self) -> None:
        async with _engine(takes=1, waiting=1) as engine:
            takes = [
                asyncio.create_task(hear(engine, make_request(duration_s=60.0, seed=seed)))
                for seed in range(4)
            ]
            await until(lambda: sum(take.done() for take in takes) >= 2)
            assert all(isinstance(take.exception(), EngineBusy) for take in takes if take.done())
            for take in takes:
                take.cancel()
            await asyncio.gather(*takes, return_exceptions=True)

            async def is_free() -> bool:
                try:
                    await hear(engine, make_request())
                except EngineBusy:
                    return False
                return True

            await until(is_free)

    async def test_a_cancelled_takes_room_is_used_again_at_once(self) -> None:
        notes = Notes()
        async with _engine(notes, takes=1) as engine:
            async with aclosing(engine.generate(make_request(duration_s=200.0))) as events:
                await anext(events)
                waiting = asyncio.create_task(hear(engine, make_request(duration_s=0.2)))
                await asyncio.sleep(0.2)
                assert not waiting.done()
            await waiting
        assert len(notes.let_go_s) >= 1
        assert notes.finished_count == 1

    async def test_cancelling_one_take_leaves_the_others_as_they_are(self) -> None:
        engine = tiny_engine()
        expected = await hear(engine, make_request(duration_s=2.0, seed=8))
        doomed = [
            asyncio.create_task(hear(engine, make_request(duration_s=100.0, seed=seed))) for seed in range(3)
        ]
        kept = asyncio.create_task(hear(engine, make_request(duration_s=2.0, seed=8)))
        for task in doomed:
            await asyncio.sleep(0.05)
            task.cancel()
        assert (await kept).audio.tobytes() == expected.audio.tobytes()


class TestFaults:
    async def test_an_error_in_a_step_ends_the_takes_that_were_in_it_and_no_more(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        step, faults = Decoder.step, [RuntimeError("no more"), torch.OutOfMemoryError("no memory")]

        def failing(self: Decoder, *arguments: Any) -> torch.Tensor:
            if faults:
                raise faults.pop()
            return step(self, *arguments)

        monkeypatch.setattr(Decoder, "step", failing)
        async with _engine() as engine:
            for message in ("no memory", "no more"):
                with pytest.raises(EngineBroken, match=message):
                    await hear(engine, make_request())
            assert (await hear(engine, make_request())).audio.size
            await engine.check_health()

    async def test_a_device_error_makes_it_unhealthy_for_good(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing(*_: Any) -> torch.Tensor:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        monkeypatch.setattr(Decoder, "step", failing)
        async with _engine() as engine:
            with pytest.raises(EngineBroken, match="illegal memory"):
                await hear(engine, make_request())
            monkeypatch.undo()
            with pytest.raises(EngineBroken, match="illegal memory"):
                await engine.check_health()
            with pytest.raises(EngineBroken, match="illegal memory"):
                await hear(engine, make_request())

    async def test_a_stuck_step_shows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        go_on = threading.Event()
        step = Decoder.step

        def waiting(self: Decoder, *arguments: Any) -> torch.Tensor:
            go_on.wait(20)
            return step(self, *arguments)

        monkeypatch.setattr(Decoder, "step", waiting)
        async with _engine(stuck_after_s=0.2) as engine:
            await engine.check_health()
            take = asyncio.create_task(hear(engine, make_request()))
            await asyncio.sleep(0.6)
            with pytest.raises(EngineBroken, match="no sign"):
                await engine.check_health()
            go_on.set()
            await take
            await engine.check_health()

    @pytest.mark.parametrize("part", ["encode", "conditions"])
    async def test_a_text_encoder_or_codec_that_hangs_shows(
        self, monkeypatch: pytest.MonkeyPatch, part: str
    ) -> None:
        go_on = threading.Event()
        owner, name = (Conditioner, "encode") if part == "encode" else (Take, "make_conditions")
        work = getattr(owner, name)

        def waiting(*arguments: Any) -> Any:
            go_on.wait(20)
            return work(*arguments)

        async with _engine(stuck_after_s=0.2) as engine:
            monkeypatch.setattr(owner, name, waiting)
            take = asyncio.create_task(hear(engine, make_request()))
            await asyncio.sleep(0.6)
            with pytest.raises(EngineBroken, match="no sign"):
                await engine.check_health()
            go_on.set()
            await take
            await engine.check_health()

    async def test_output_that_is_not_finite_is_a_broken_engine(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from deployments.engines.music.codec.stream import CodecStream

        push = CodecStream.push
        monkeypatch.setattr(CodecStream, "push", lambda self, codes: push(self, codes) * torch.nan)
        async with _engine() as engine:
            with pytest.raises(EngineBroken, match="finite"):
                await hear(engine, make_request())

    async def test_conditions_that_cannot_be_made_end_only_their_take(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from deployments.engines.music.batching.conditions import Conditioner

        make = Conditioner._make

        def failing(self: Conditioner, prompt: str, melody: Any) -> Any:
            if prompt == "cursed":
                raise RuntimeError("tokenizer")
            return make(self, prompt, melody)

        monkeypatch.setattr(Conditioner, "_make", failing)
        async with _engine() as engine:
            doomed = asyncio.create_task(hear(engine, make_request(prompt="cursed")))
            assert (await hear(engine, make_request())).audio.size
            with pytest.raises(EngineBroken, match="tokenizer"):
                await doomed

    async def test_running_out_of_memory_for_keys_and_values_is_survived(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def failing(*_: Any) -> Any:
            raise torch.OutOfMemoryError("no memory")

        async with _engine() as engine:
            with monkeypatch.context() as patched:
                patched.setattr(Decoder, "new_cache", failing)
                with pytest.raises(EngineBroken, match="no memory"):
                    await hear(engine, make_request())
            assert (await hear(engine, make_request())).audio.size

    async def test_closing_ends_takes_whose_conditions_are_being_made(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from deployments.engines.music.batching.conditions import Conditioner

        go_on = threading.Event()

        def slow(self: Conditioner, prompt: str, melody: Any) -> Any:
            go_on.wait(20)
            raise RuntimeError("too late")

        async with _engine() as engine:
            monkeypatch.setattr(Conditioner, "_make", slow)
            tasks = [asyncio.create_task(hear(engine, make_request(prompt=str(n)))) for n in range(3)]
            await asyncio.sleep(0.2)
            await engine.close()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            go_on.set()
        assert all(isinstance(result, EngineBroken) for result in results)

    async def test_closing_ends_running_and_waiting_takes(self) -> None:
        async with _engine(takes=1) as engine:
            tasks = [asyncio.create_task(hear(engine, make_request(duration_s=200.0))) for _ in range(3)]
            await asyncio.sleep(0.2)
            await engine.close()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(result, EngineBroken) for result in results)
            with pytest.raises(EngineBroken, match="closed"):
                await hear(engine, make_request())


async def test_the_event_loop_stays_free() -> None:
    turns = 0
    take = asyncio.create_task(hear(tiny_engine(), _continue(3.0, 12.0)))
    while not take.done():
        await asyncio.sleep(0.005)
        turns += 1
    # A quick machine leaves it a hundred, a busy one fewer; a loop that is held has one or two.
    assert turns > 10


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
async def test_fewer_bits_play_at_the_same_level(dtype: str) -> None:
    request = _continue(1.0, 1.0)
    expected = await hear(tiny_engine(), request)
    async with _engine(dtype=dtype) as engine:
        heard = await hear(engine, request)
        assert (await engine.info()).dtype == dtype
    assert abs(level_db(heard.audio) - level_db(expected.audio)) < 3.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "needs a GPU"),
        ({"dtype": "int3"}, "dtype must be"),
        ({"extend_stride_s": 30.0}, "windows start 30 s apart"),
    ],
)
def test_what_cannot_be_had_says_why(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=message):
        SegueEngine(find("tiny"), cache_dir=model_cache(), options=replace(TINY, **options))


class NotesAtTheGate(Notes):
    """Holds the batch after its first step until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def stepped(self, state: BatchState, *, seconds: float) -> None:
        super().stepped(state, seconds=seconds)
        self.gate.wait(20.0)


async def test_one_clients_burst_delays_anothers_take_by_at_most_one_batch() -> None:
    notes, ended = NotesAtTheGate(), list[str]()
    async with _engine(notes, takes=2, waiting=16) as engine:
        batch = engine._batch

        async def ask(client: str) -> None:
            await hear(engine, replace(make_request(duration_s=0.4), client=client))
            ended.append(client)

        asked = [asyncio.create_task(ask("ann")) for _ in range(10)]
        await until(lambda: len(batch._under_way) == 10)
        asked.append(asyncio.create_task(ask("bob")))
        await until(
            lambda: batch._inbox.qsize() + len(batch._waiting) + len(batch._active) == 11, timeout_s=20.0
        )
        notes.gate.set()
        await asyncio.gather(*asked)
    # Two takes are the batch that runs, two the one that the other's take is in.
    assert ended.index("bob") < 4, ended


async def test_the_last_places_to_wait_are_not_for_who_has_the_others() -> None:
    notes = NotesAtTheGate()
    async with _engine(notes, takes=1, waiting=5) as engine:

        async def ask(client: str) -> None:
            await hear(engine, replace(make_request(duration_s=0.2), client=client))

        asked = [asyncio.create_task(ask("ann")) for _ in range(5)]
        await until(lambda: len(engine._batch._under_way) == 5)
        with pytest.raises(EngineBusy):
            await ask("ann")
        asked.append(asyncio.create_task(ask("bob")))
        await until(lambda: len(engine._batch._under_way) == 6)
        notes.gate.set()
        await asyncio.gather(*asked)
