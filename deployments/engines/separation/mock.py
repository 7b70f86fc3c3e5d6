"""A separator without a model, for development: every source gets a fixed share of the mixture, at once and
without torch. The shares add up to 1, so the stems of a track without DC add up to the track."""

from __future__ import annotations

import asyncio
import hashlib

import numpy as np

from deployments.engines.common.hosted import MockHosted
from deployments.engines.separation.checks import check_segment
from deployments.engines.separation.protocol import (
    Estimates,
    Padding,
    Part,
    SegmentRequest,
    SeparatorInfo,
)

SHARES = {"drums": 0.375, "bass": 0.25, "other": 0.125, "vocals": 0.25}
"""Exact in binary, and the names of Demucs's sources."""
_SEGMENT_SAMPLES = 343_980


class MockSeparator(MockHosted[SeparatorInfo]):
    """Satisfies `SeparatorEngine`: 44.1 kHz stereo in Demucs's segments of 7.8 s. `segment_delay_s` is waited
    for every segment."""

    def __init__(self, *, segment_delay_s: float = 0.0) -> None:
        self._segment_delay_s = segment_delay_s
        super().__init__(
            SeparatorInfo(
                model="mock",
                engine="mock",
                engine_version="1",
                weights_sha256=hashlib.sha256(b"").hexdigest(),
                licence="MIT",
                sample_rate_hz=44_100,
                channels=2,
                sources=tuple(SHARES),
                parts=(
                    Part(
                        segment_samples=_SEGMENT_SAMPLES,
                        longest_samples=_SEGMENT_SAMPLES,
                        weights=(1.0,) * len(SHARES),
                        padding=Padding.NONE,
                    ),
                ),
                device="cpu",
                dtype="float32",
                reproducible=True,
            )
        )

    async def separate(self, segment: SegmentRequest) -> Estimates:
        await self.check_health()
        check_segment(segment, self._info)
        await asyncio.sleep(self._segment_delay_s)
        return np.stack([segment.samples * np.float32(SHARES[source]) for source in segment.sources])
