"""What every analyser owes its caller, whichever it is."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from deployments.audio.samples import Samples
from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.catalog import AnalyserOptions, MelodyModel, find
from deployments.engines.analysis.load import load
from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.analysis.mood.emotion import LABELS
from deployments.engines.analysis.mood.styles import STYLE_IDS
from deployments.engines.analysis.pitch.keys import parse_key
from deployments.engines.analysis.protocol import AnalyserEngine, AnalysisRequest
from deployments.engines.common.device import Device
from deployments.engines.common.errors import BadRequest, EngineBroken
from tests.deployments.engines.analysis.sounds import babble, cadence, click, noise, time_s
from tests.deployments.engines.loaded import model_cache

pytestmark = pytest.mark.torch

RATE_HZ = 22_050


def _load(name: str, melody: MelodyModel = MelodyModel.NONE) -> AnalyserEngine:
    options = AnalyserOptions(device=Device.CPU, melody=melody, threads=1, lanes=1)
    return load(find(name), cache_dir=model_cache(), options=options)


ENGINES: dict[str, Callable[[], AnalyserEngine]] = {
    "mock": lambda: MockAnalyser(),
    "mock-slow": lambda: MockAnalyser(delay_s=0.01),
    "signal": lambda: _load("signal"),
    "signal-crepe": lambda: _load("signal", MelodyModel.CREPE_TINY),
    "tiny-clap": lambda: _load("tiny-clap"),
}


@cache
def _engine(name: str) -> AnalyserEngine:
    return ENGINES[name]()


@pytest.fixture(params=ENGINES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(name: str) -> AnalyserEngine:
    return _engine(name)


def request_of(samples: Samples, rate_hz: int = RATE_HZ, *, wants_melody: bool = True) -> AnalysisRequest:
    stacked = samples[None] if samples.ndim == 1 else samples
    return AnalysisRequest("test", stacked.astype(np.float32), rate_hz, wants_melody)


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, int | float):
        yield value


def check(analysis: Analysis, duration_s: float) -> None:
    """Whatever the clip was."""
    record = json.loads(json.dumps(analysis.to_record(), allow_nan=False))
    assert all(math.isfinite(number) for number in numbers(record))
    assert analysis.duration_s == pytest.approx(duration_s)
    rhythm, key, energy, emotion = analysis.rhythm, analysis.key, analysis.energy, analysis.emotion
    assert (rhythm.bpm is None) == (not rhythm.beats_s)
    assert all(0 <= beat <= duration_s for beat in (*rhythm.beats_s, *rhythm.downbeats_s))
    for confidence in (rhythm.confidence, key.confidence, emotion.confidence):
        assert 0 <= confidence <= 1
    for spelled in (key.name, key.alternative):
        assert spelled is None or str(parse_key(spelled)) == spelled
    assert len(energy.values) == max(1, math.ceil(round(duration_s / energy.hop_s, 6)))
    assert all(0 <= value <= 1 for value in energy.values)
    assert emotion.label is None or emotion.label in LABELS
    assert tuple(analysis.style.scores) == STYLE_IDS
    assert sum(analysis.style.scores.values()) == pytest.approx(1.0)
    if analysis.melody is not None:
        assert len(analysis.melody.f0_hz) == len(analysis.melody.confidence)
    if analysis.sections:
        assert analysis.sections[0].start_s == 0.0
        assert analysis.sections[-1].end_s == pytest.approx(duration_s)
    assert analysis.prompt
    assert "\n" not in analysis.prompt


def _clips() -> dict[str, tuple[Samples, int]]:
    tone = 0.3 * np.sin(2 * np.pi * 330 * time_s(1.0, 8_000))
    return {
        "music": (cadence(9, "minor", bars=3), RATE_HZ),
        "stereo": (np.stack([cadence(2, "major", bars=2), noise(2.0)]), RATE_HZ),
        "silence": (np.zeros((2, RATE_HZ)), RATE_HZ),
        "noise": (noise(1.0), RATE_HZ),
        "click": (click(1.0), RATE_HZ),
        "dc": (np.full(RATE_HZ, 0.5), RATE_HZ),
        "a fifth of a second": (noise(0.2), RATE_HZ),
        "one sample": (np.full(1, 0.5), RATE_HZ),
        "speech": (babble(1.5), RATE_HZ),
        "8 kHz": (tone, 8_000),
        "4 kHz": (tone[::2], 4_000),
        "192 kHz": (0.3 * np.sin(2 * np.pi * 330 * time_s(0.5, 192_000)), 192_000),
        "beyond full scale": (1e30 * noise(0.5), RATE_HZ),
        "next to nothing": (np.full(4_000, 1e-40), RATE_HZ),
    }


CLIPS = _clips()


@pytest.mark.parametrize("clip", CLIPS)
async def test_every_clip_gets_an_honest_record(engine: AnalyserEngine, clip: str) -> None:
    samples, rate_hz = CLIPS[clip]
    analysis = await engine.analyse(request_of(samples, rate_hz))
    check(analysis, samples.shape[-1] / rate_hz)
    if clip in ("silence", "click", "dc", "noise", "one sample") and not _imitates(engine):
        assert analysis.key.name is None
        assert analysis.rhythm.bpm is None or analysis.rhythm.confidence < 0.2
    if clip in ("silence", "next to nothing") and not _imitates(engine):
        assert analysis.emotion.label is None
        assert analysis.style.id is None


async def test_a_melody_comes_only_where_it_is_wanted_and_followed(engine: AnalyserEngine) -> None:
    follows = (await engine.info()).methods["melody"] != "none"
    for wanted in (True, False):
        analysis = await engine.analyse(request_of(cadence(0, "major", bars=1), wants_melody=wanted))
        assert (analysis.melody is not None) == (wanted and follows)


async def test_the_same_clip_gives_the_same_record(engine: AnalyserEngine) -> None:
    request = request_of(cadence(4, "major", bars=2), wants_melody=False)
    assert await engine.analyse(request) == await engine.analyse(request)


async def test_the_samples_stay_as_they_were(engine: AnalyserEngine) -> None:
    samples = (20.0 * cadence(4, "major", bars=1)).astype(np.float32)
    kept = samples.copy()
    await engine.analyse(request_of(samples, wants_melody=False))
    assert np.array_equal(samples, kept)


@pytest.mark.parametrize(
    ("samples", "rate_hz", "field"),
    [
        (np.zeros((3, 100), np.float32), RATE_HZ, "samples"),
        (np.zeros((1, 0), np.float32), RATE_HZ, "samples"),
        (np.zeros((1, 100)), RATE_HZ, "samples"),
        (np.full((1, 100), np.nan, np.float32), RATE_HZ, "samples"),
        (np.full((1, 100), np.inf, np.float32), RATE_HZ, "samples"),
        (np.zeros(100, np.float32), RATE_HZ, "samples"),
        (np.zeros((1, 100), np.float32), 3_999, "rate_hz"),
        (np.zeros((1, 100), np.float32), 192_001, "rate_hz"),
    ],
)
async def test_what_is_no_clip_is_refused(
    engine: AnalyserEngine, samples: Any, rate_hz: int, field: str
) -> None:
    with pytest.raises(BadRequest, match=field):
        await engine.analyse(AnalysisRequest("test", samples, rate_hz))


async def test_it_says_what_it_is(engine: AnalyserEngine) -> None:
    info = await engine.info()
    assert set(info.methods) == {"rhythm", "key", "emotion", "style", "melody"}
    assert len(info.weights_sha256) == 64
    assert json.loads(json.dumps(info.describe())) == info.describe()
    await engine.warm_up()
    await engine.check_health()


async def test_clips_may_come_at_once(engine: AnalyserEngine) -> None:
    requests = [request_of(cadence(tonic, "major", bars=2), wants_melody=False) for tonic in (0, 5, 10)]
    together = await asyncio.gather(*(engine.analyse(request) for request in requests))
    assert list(together) == [await engine.analyse(request) for request in requests]


async def test_a_cancelled_clip_is_given_up(engine: AnalyserEngine) -> None:
    work = asyncio.create_task(engine.analyse(request_of(cadence(0, "major", bars=4))))
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await engine.check_health()
    check(await engine.analyse(request_of(noise(0.2))), 0.2)


async def test_a_closed_engine_refuses(name: str) -> None:
    engine = ENGINES[name]()
    await engine.close()
    with pytest.raises(EngineBroken):
        await engine.check_health()
    with pytest.raises(EngineBroken):
        await engine.analyse(request_of(noise(0.2)))
    await engine.close()


def _imitates(engine: AnalyserEngine) -> bool:
    return isinstance(engine, MockAnalyser)
