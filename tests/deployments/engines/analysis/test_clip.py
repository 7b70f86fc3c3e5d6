"""What a recording has around its music, an offset or silence, says nothing of it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.audio.samples import Samples
from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.catalog import AnalyserOptions, find
from deployments.engines.analysis.clip import Clip
from deployments.engines.analysis.engine import SignalAnalyser
from deployments.engines.analysis.protocol import AnalysisRequest
from tests.deployments.engines.analysis.sounds import RATE_HZ, cadence, drums, noise
from tests.deployments.engines.loaded import model_cache

BAR_S = 1.0


@cache
def engine() -> SignalAnalyser:
    options = AnalyserOptions(melody="none", threads=1, lanes=1)
    return SignalAnalyser(find("signal"), cache_dir=model_cache(), options=options)


def analysed(samples: Samples) -> Analysis:
    import asyncio

    return asyncio.run(engine().analyse(AnalysisRequest("test", samples.astype(np.float32)[None], RATE_HZ)))


@cache
def music() -> Samples:
    return (0.5 * cadence(9, "minor", bars=8, bar_s=BAR_S) + 0.3 * drums(8.0)).astype(np.float32)


@cache
def plain() -> Analysis:
    return analysed(music())


def assert_same_music(found: Analysis) -> None:
    known = plain()
    assert found.key.name == known.key.name
    assert found.rhythm.bpm == pytest.approx(known.rhythm.bpm, rel=0.01)
    assert found.emotion.arousal == pytest.approx(known.emotion.arousal, abs=0.05)
    assert found.emotion.valence == pytest.approx(known.emotion.valence, abs=0.05)
    assert found.style.id == known.style.id
    assert found.prompt == known.prompt


@settings(max_examples=6, deadline=None)
@given(offset=st.floats(-0.4, 0.4))
def test_a_constant_offset_changes_nothing(offset: float) -> None:
    found = analysed(music() + np.float32(offset))
    assert_same_music(found)
    assert np.allclose(found.energy.values, plain().energy.values, atol=0.01)


@settings(max_examples=6, deadline=None)
@given(before_s=st.floats(0.1, 5.0), after_s=st.floats(0.0, 3.0), offset=st.sampled_from([0.0, 0.1]))
def test_silence_around_the_music_moves_its_times_and_nothing_else(
    before_s: float, after_s: float, offset: float
) -> None:
    before, after = (np.zeros(round(each * RATE_HZ), np.float32) for each in (before_s, after_s))
    found = analysed(np.concatenate([before, music(), after]) + np.float32(offset))
    assert_same_music(found)
    moved_s = len(before) / RATE_HZ
    assert np.allclose(np.array(found.rhythm.beats_s[:8]) - moved_s, plain().rhythm.beats_s[:8], atol=0.03)
    silent = int(moved_s * 10) - 3
    assert set(found.energy.values[: max(0, silent)]) <= {0.0}
    assert max(found.energy.values) == pytest.approx(max(plain().energy.values), abs=0.05)
    assert sum(found.energy.values) == pytest.approx(sum(plain().energy.values), rel=0.1)


def test_what_sounds_is_found_to_the_sample() -> None:
    sound = noise(1.0)
    clip = Clip(np.concatenate([np.zeros(5_000), sound, np.zeros(3_000)]).astype(np.float32)[None], RATE_HZ)
    assert clip.sounding.samples.shape[1] == pytest.approx(sound.size, abs=2)
    assert clip.sounding_from_s * RATE_HZ == pytest.approx(5_000, abs=2)
    assert clip.in_silence.size == clip.samples.shape[1]


def test_a_clip_without_silence_is_itself() -> None:
    clip = Clip(noise(0.5)[None], RATE_HZ)
    assert clip.sounding.samples.shape[1] >= clip.samples.shape[1] - 2
    silent = Clip(np.full((1, 100), 0.25, np.float32), RATE_HZ)
    assert silent.sounding is silent
