"""An analyser that listens to nothing, for development: the same answers for every clip of one length, at
once and without torch.

120 beats a minute from the first sample on, in 4/4 and A minor, 0.5 on the energy curve, -18 LUFS, calm,
ambient, a melody that holds A4, and halves that differ where the clip has at least 20 s.
"""

from __future__ import annotations

import asyncio
import hashlib
import math

from deployments.engines.analysis.analysis import (
    Analysis,
    Emotion,
    EnergyCurve,
    Key,
    Level,
    Melody,
    Rhythm,
    Section,
)
from deployments.engines.analysis.checks import check_request
from deployments.engines.analysis.energy import HOP_S
from deployments.engines.analysis.mood.styles import STYLES, chosen_style
from deployments.engines.analysis.prompt import write_prompt
from deployments.engines.analysis.protocol import AnalyserInfo, AnalysisRequest
from deployments.engines.analysis.sections import MIN_DURATION_S
from deployments.engines.common.hosted import MockHosted

BPM = 120.0
MELODY_HOP_S, MELODY_MOST_S = 0.01, 60.0


class MockAnalyser(MockHosted[AnalyserInfo]):
    """Satisfies `AnalyserEngine`. `delay_s` is waited for every clip."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s
        super().__init__(
            AnalyserInfo(
                model="mock",
                engine_version="1",
                methods=dict.fromkeys(("rhythm", "key", "emotion", "style", "melody"), "mock"),
                weights_sha256=hashlib.sha256(b"").hexdigest(),
                device="cpu",
            )
        )

    async def analyse(self, request: AnalysisRequest) -> Analysis:
        await self.check_health()
        check_request(request)
        await asyncio.sleep(self._delay_s)
        return mock_analysis(request.samples.shape[1] / request.rate_hz, wants_melody=request.wants_melody)


def mock_analysis(duration_s: float, *, wants_melody: bool = True) -> Analysis:
    """What is said of every clip of this length."""
    beat_s = 60.0 / BPM
    beats = tuple(beat * beat_s for beat in range(math.ceil(duration_s / beat_s)))
    rhythm = Rhythm(BPM, 1.0, BPM / 2, True, beats, beats[::4], 4)
    key = Key("A minor", 1.0, "8A", "C major", 0.0)
    energy = EnergyCurve(HOP_S, (0.5,) * max(1, math.ceil(duration_s / HOP_S)))
    emotion = Emotion(0.3, -0.6, "calm", 1.0, "mock")
    scores = {style.id: 0.5 if style.id == "ambient" else 0.5 / (len(STYLES) - 1) for style in STYLES}
    style = chosen_style(scores, "mock")
    return Analysis(
        duration_s=duration_s,
        rhythm=rhythm,
        key=key,
        energy=energy,
        level=Level(-18.0 if duration_s >= 0.4 else None, -6.0),
        emotion=emotion,
        style=style,
        melody=_melody(duration_s) if wants_melody else None,
        sections=_sections(duration_s),
        prompt=write_prompt(rhythm=rhythm, key=key, energy=energy, emotion=emotion, style=style),
    )


def _melody(duration_s: float) -> Melody:
    covered_s = min(duration_s, MELODY_MOST_S)
    frames = 1 + math.floor(covered_s / MELODY_HOP_S)
    return Melody(MELODY_HOP_S, (440.0,) * frames, (1.0,) * frames, covered_s, "mock")


def _sections(duration_s: float) -> tuple[Section, ...]:
    if duration_s < MIN_DURATION_S:
        return ()
    return Section(0.0, duration_s / 2, "A"), Section(duration_s / 2, duration_s, "B")
