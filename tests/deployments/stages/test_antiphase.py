"""A clip whose channels are each other's negative sounds to models as the one whose channels are equal."""

from __future__ import annotations

import numpy as np

from deployments.audio.samples import SoundFormat
from deployments.engines.analysis.clip import Clip
from deployments.engines.music.mock import MockEngine
from deployments.engines.music.protocol import Sampling
from deployments.stages.clip import Source, make_clip

RATE_HZ = 32_000


def _pair() -> tuple[np.ndarray, np.ndarray]:
    """In phase, in antiphase."""
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    left = (0.3 * np.sin(2 * np.pi * 220 * time_s) * (1 - time_s % 0.5)).astype(np.float32)
    return np.stack([left, left]), np.stack([left, -left])


def test_the_analysis_hears_the_same() -> None:
    inphase, antiphase = (Clip(samples, RATE_HZ).listening for samples in _pair())
    assert np.abs(inphase).max() > 0.25
    np.testing.assert_allclose(antiphase, inphase, atol=1e-6)


async def test_the_continuation_is_the_same() -> None:
    made = [
        await make_clip(
            MockEngine(),
            request_id="r",
            prompt="",
            duration_s=1.0,
            sampling=Sampling(seed=1),
            wanted=SoundFormat(RATE_HZ, 1),
            source=Source(samples, RATE_HZ),
        )
        for samples in _pair()
    ]
    assert np.abs(made[0]).max() > 0.1
    np.testing.assert_allclose(made[1], made[0], atol=1e-6)
