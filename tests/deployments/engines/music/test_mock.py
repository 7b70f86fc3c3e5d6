from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.common.errors import EngineBroken
from deployments.engines.music.mock import MockEngine
from deployments.engines.music.protocol import GenerationMode
from tests.deployments.engines.loaded import chord, hear, level_db, make_request


@given(context_samples=st.integers(1, 40_000), duration_s=st.floats(0.01, 1.0))
async def test_continue_plays_the_sources_end_again(context_samples: int, duration_s: float) -> None:
    context = np.linspace(0, 1, context_samples, dtype=np.float32)[None]
    request = make_request(mode=GenerationMode.CONTINUE, context=context, duration_s=duration_s)
    audio = (await hear(MockEngine(), request)).audio
    count = audio.shape[1]
    if count <= context_samples:
        np.testing.assert_array_equal(audio, context[:, -count:])
    else:
        np.testing.assert_array_equal(audio[0], context[0, np.arange(count) % context_samples])


async def test_text_is_a_soft_tone_in_every_channel() -> None:
    audio = (await hear(MockEngine(channels=2), make_request(duration_s=1.0))).audio
    assert -30.0 < level_db(audio) < -15.0
    assert np.abs(audio).max() <= 0.1
    loudest = np.abs(np.fft.rfft(audio[0])).argmax()
    assert 110 <= loudest <= 880


async def test_closed_it_refuses_and_is_unhealthy() -> None:
    engine = MockEngine()
    await engine.close()
    with pytest.raises(EngineBroken, match="closed"):
        await hear(engine, make_request(mode=GenerationMode.MELODY, context=chord(0.1)))
    with pytest.raises(EngineBroken, match="closed"):
        await engine.check_health()
