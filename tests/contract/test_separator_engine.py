"""What every `SeparatorEngine` owes its caller, whichever it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader, TrackWriter
from deployments.engines.common.device import Device
from deployments.engines.common.errors import BadRequest, EngineBroken, EngineBusy
from deployments.engines.separation.catalog import SeparatorOptions, find
from deployments.engines.separation.load import load
from deployments.engines.separation.mock import MockSeparator
from deployments.engines.separation.passes import padded_samples
from deployments.engines.separation.protocol import SegmentRequest, SeparatorEngine, SeparatorInfo
from deployments.engines.separation.track import separate_track
from tests.deployments.engines.loaded import model_cache
from tests.support.clips import music

pytestmark = pytest.mark.torch


def _load(name: str) -> Callable[[int], SeparatorEngine]:
    return lambda waiting: load(
        find(name),
        cache_dir=model_cache(),
        options=SeparatorOptions(device=Device.CPU, threads=1, lanes=1, waiting=waiting),
    )


ENGINES: dict[str, Callable[[int], SeparatorEngine]] = {
    "mock": lambda _: MockSeparator(),
    "mock-slow": lambda _: MockSeparator(segment_delay_s=0.01),
    "tiny": _load("tiny"),
    "tiny-ft": _load("tiny-ft"),
    "tiny-mixed": _load("tiny-mixed"),
}


@cache
def _shared(name: str) -> SeparatorEngine:
    return ENGINES[name](64)


@pytest.fixture(params=ENGINES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(name: str) -> SeparatorEngine:
    return _shared(name)


def segment(info: SeparatorInfo, part: int = 0, *, silent: bool = False) -> SegmentRequest:
    """About half a second of music for a part, as long as that wants it."""
    samples = padded_samples(info.parts[part], info.sample_rate_hz // 2, None)
    sound = music(samples / info.sample_rate_hz, info.sample_rate_hz, info.channels)[:, :samples]
    return SegmentRequest("test", part, 0.0 * sound if silent else 5.0 * sound, info.sources)


async def test_every_part_gives_the_wanted_sources_in_the_order_asked_for(engine: SeparatorEngine) -> None:
    info = await engine.info()
    for part in range(len(info.parts)):
        request = segment(info, part)
        everything = await engine.separate(request)
        assert everything.shape == (len(info.sources), *request.samples.shape)
        assert everything.dtype == np.float32
        assert np.isfinite(everything).all()
        assert np.abs(everything).max() > 0.0
        some = await engine.separate(replace(request, sources=(info.sources[2], info.sources[0])))
        np.testing.assert_array_equal(some, everything[[2, 0]])


async def test_silence_has_finite_estimates(engine: SeparatorEngine) -> None:
    info = await engine.info()
    for part in range(len(info.parts)):
        assert np.isfinite(await engine.separate(segment(info, part, silent=True))).all()


async def test_the_same_segment_gives_the_same_bytes_alone_and_in_company(engine: SeparatorEngine) -> None:
    info = await engine.info()
    assert info.reproducible
    requests = [segment(info, part) for part in range(len(info.parts))]
    alone = [(await engine.separate(request)).tobytes() for request in requests]
    together = await asyncio.gather(*(engine.separate(request) for request in 2 * requests))
    assert [estimates.tobytes() for estimates in together] == 2 * alone


async def test_a_segment_is_left_as_it_is_and_may_be_read_only(engine: SeparatorEngine) -> None:
    request = segment(await engine.info())
    before = request.samples.tobytes()
    request.samples.setflags(write=False)
    estimates = await engine.separate(request)
    estimates[:] = 0.0
    assert request.samples.tobytes() == before


def _sound(channels: int, samples: int) -> Samples:
    return np.full((channels, samples), 0.1, np.float32)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("part", -1),
        ("part", 99),
        ("sources", ()),
        ("sources", ("theremin",)),
        ("sources", ("bass", "bass")),
        ("samples", _sound(1, 1000)),
        ("samples", _sound(3, 1000)),
        ("samples", _sound(2, 0)),
        ("samples", _sound(2, 10_000_000)),
        ("samples", _sound(2, 1000)[0]),
        ("samples", _sound(2, 1000).astype(np.float64)),
        ("samples", np.nan * _sound(2, 1000)),
        ("samples", np.inf * _sound(2, 1000)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(getattr(value, "shape", value)),
)
async def test_segments_that_are_none_are_refused(engine: SeparatorEngine, field: str, value: Any) -> None:
    request = replace(segment(await engine.info()), **{field: value})
    with pytest.raises(BadRequest, match=field):
        await engine.separate(request)


@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 2), (44_100, 1)])
async def test_tracks_of_another_format_are_refused(
    engine: SeparatorEngine, rate_hz: int, channels: int, tmp_path: Path
) -> None:
    with TrackWriter(tmp_path / "track.wav", rate_hz, channels) as writer:
        writer.append(_sound(channels, 1000))
    with pytest.raises(BadRequest, match="track"):
        await anext(aiter(separate_track(engine, TrackReader(writer.path))))


async def test_a_segment_that_waits_can_be_given_up(engine: SeparatorEngine) -> None:
    request = segment(await engine.info())
    before = await engine.separate(request)
    stays, goes = (asyncio.create_task(engine.separate(request)) for _ in range(2))
    await asyncio.sleep(0)
    goes.cancel()
    results = await asyncio.gather(stays, goes, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    for estimates in (results[0], await engine.separate(request)):
        assert isinstance(estimates, np.ndarray)
        assert estimates.tobytes() == before.tobytes()


async def test_a_full_queue_is_busy_and_empties(name: str) -> None:
    engine = ENGINES[name](1)
    request = segment(await engine.info())
    results = await asyncio.gather(*(engine.separate(request) for _ in range(8)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(result, EngineBusy) for result in refused)
    assert len(refused) < len(results)
    # The mock works on everything at once: nothing ever waits there.
    assert bool(refused) != isinstance(engine, MockSeparator)
    await engine.check_health()
    assert np.isfinite(await engine.separate(request)).all()
    await engine.close()


async def test_a_closed_engine_answers_nobody(name: str) -> None:
    engine = ENGINES[name](8)
    request = segment(await engine.info())
    answers = [asyncio.create_task(engine.separate(request)) for _ in range(4)]
    await asyncio.sleep(0)
    await engine.close()
    for result in await asyncio.gather(*answers, return_exceptions=True):
        assert isinstance(result, EngineBroken | np.ndarray)
    with pytest.raises(EngineBroken):
        await engine.separate(request)
    with pytest.raises(EngineBroken):
        await engine.check_health()
    await engine.close()


async def test_info_can_be_written_as_json(engine: SeparatorEngine) -> None:
    info = await engine.info()
    described = json.loads(json.dumps(info.describe()))
    assert len(described["weights_sha256"]) == 64
    assert described["parts"]
    for part in described["parts"]:
        assert len(part["weights"]) == len(described["sources"])


async def test_warm_up_and_health_check_pass_on_a_healthy_engine(engine: SeparatorEngine) -> None:
    await engine.warm_up()
    await engine.check_health()
