"""A take as it comes from a model, in the chain's format: the same to the bit, however it comes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.audio.levels import soft_limit
from deployments.audio.resample import resample, to_channels
from deployments.audio.samples import Samples, SoundFormat
from deployments.audio.seam.continuation import Continuation, TooFewSamples
from tests.support.clips import music

MODEL_HZ = 32_000
RATES_HZ = [8_000, 22_050, 32_000, 44_100, 48_000, 96_000]


def _continuation(
    reconstruction: Samples,
    wanted: SoundFormat,
    *,
    gain: float = 1.0,
    lead_in_samples: int = 500,
    new_samples: int,
) -> Continuation:
    return Continuation(
        reconstruction,
        given=SoundFormat(MODEL_HZ, reconstruction.shape[0]),
        wanted=wanted,
        gain=gain,
        lead_in_samples=lead_in_samples,
        new_samples=new_samples,
    )


def _in_one(
    before: Samples, new: Samples, wanted: SoundFormat, gain: float, new_samples: int
) -> tuple[Samples, Samples]:
    """(all before the seam, the new audio), each step of the way done once for the whole signal."""
    joined = np.concatenate([before, new], axis=1) * np.float32(gain)
    sound = soft_limit(to_channels(resample(joined, MODEL_HZ, wanted.rate_hz), wanted.channels))
    seam = round(before.shape[1] * wanted.rate_hz / MODEL_HZ)
    return sound[:, :seam], sound[:, seam : seam + new_samples]


@settings(max_examples=80, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 24_000), max_size=8),
    before_samples=st.sampled_from([0, 640, 6_400, 12_801]),
    model_channels=st.integers(1, 2),
    wanted=st.builds(SoundFormat, st.sampled_from(RATES_HZ), st.integers(1, 2)),
    gain=st.sampled_from([0.5, 1.0, 4.0]),
)
def test_however_it_is_cut_the_same_bits_come_out(
    cuts: list[int], before_samples: int, model_channels: int, wanted: SoundFormat, gain: float
) -> None:
    audio = music((before_samples + 24_000) / MODEL_HZ, MODEL_HZ, model_channels)
    before, new = np.split(audio, [before_samples], axis=1)
    new_samples = round(0.7 * wanted.rate_hz)
    lead_in, expected = _in_one(before, new, wanted, gain, new_samples)
    take = _continuation(before, wanted, gain=gain, new_samples=new_samples)
    heard = [take.push(piece) for piece in np.split(new, sorted(cuts), axis=1)]
    came = np.concatenate([*heard, take.finish()], axis=1)
    assert came.dtype == np.float32
    assert came.shape == (wanted.channels, new_samples)
    assert came.tobytes() == np.ascontiguousarray(expected).tobytes()
    kept = min(500, lead_in.shape[1])
    assert np.array_equal(take.lead_in, lead_in[:, lead_in.shape[1] - kept :])


def test_the_first_samples_come_long_before_the_last() -> None:
    before, new = np.split(music(3.0, MODEL_HZ, 1), [MODEL_HZ], axis=1)
    take = _continuation(before, SoundFormat(44_100, 2), new_samples=2 * 44_100)
    heard = take.push(new[:, :3_200])
    assert heard.shape[0] == 2
    assert 0.06 < heard.shape[1] / 44_100 <= 0.1
    assert take.lead_in.shape == (2, 500)


def test_a_sample_that_resampling_rounds_away_is_held() -> None:
    new_samples = round(0.50002 * 96_000)
    take = _continuation(np.zeros((1, 0), np.float32), SoundFormat(96_000, 1), new_samples=new_samples)
    heard = take.push(np.full((1, 16_000), 0.25, np.float32))
    rest = take.finish()
    assert heard.shape[1] + rest.shape[1] == new_samples
    assert rest[0, -1] == rest[0, -2]


@pytest.mark.parametrize("missing", [20, 16_000])
def test_too_few_samples_are_told(missing: int) -> None:
    take = _continuation(np.zeros((1, 0), np.float32), SoundFormat(44_100, 1), new_samples=22_050)
    take.push(np.zeros((1, 16_000 - missing), np.float32))
    with pytest.raises(TooFewSamples, match="too few"):
        take.finish()


def test_more_samples_than_asked_for_are_left_out() -> None:
    take = _continuation(np.zeros((1, 0), np.float32), SoundFormat(32_000, 1), new_samples=1_000)
    pieces = [take.push(np.ones((1, 800), np.float32)) for _ in range(3)]
    assert [piece.shape[1] for piece in (*pieces, take.finish())] == [800, 200, 0, 0]
