import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.audio.resample import resample, to_channels

RATES_HZ = [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000]


def _sine(hz: float, rate_hz: int, duration_s: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(rate_hz * duration_s)) / rate_hz).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(0, 5000),
    channels=st.integers(1, 2),
    from_hz=st.sampled_from(RATES_HZ),
    to_hz=st.sampled_from(RATES_HZ),
)
def test_the_length_is_exact(length: int, channels: int, from_hz: int, to_hz: int) -> None:
    samples = np.full((channels, length), 0.25, dtype=np.float32)
    resampled = resample(samples, from_hz, to_hz)
    assert resampled.shape == (channels, round(length * to_hz / from_hz))
    assert resampled.dtype == np.float32
    assert np.isfinite(resampled).all()


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(44100, 32000), (32000, 44100), (48000, 16000), (22050, 48000)]
)
def test_a_tone_stays_where_it_is(from_hz: int, to_hz: int) -> None:
    stereo = np.stack([_sine(440, from_hz), 0.5 * _sine(1000, from_hz)])
    expected = np.stack([_sine(440, to_hz), 0.5 * _sine(1000, to_hz)])
    inner = slice(to_hz // 20, -to_hz // 20)
    assert np.abs(resample(stereo, from_hz, to_hz) - expected)[:, inner].max() < 1e-4


def test_what_the_lower_rate_cannot_hold_is_gone() -> None:
    folded = resample(_sine(20_000, 48000)[None], 48000, 32000)
    assert np.abs(folded[:, 1000:-1000]).max() < 1e-4


def test_the_same_rate_changes_nothing() -> None:
    samples = np.ones((1, 10), dtype=np.float32)
    assert resample(samples, 44100, 44100) is samples


def test_mono_is_doubled_and_stereo_averaged() -> None:
    stereo = np.array([[1.0, 0.0, 0.5], [0.0, -1.0, 0.5]], dtype=np.float32)
    mono = to_channels(stereo, 1)
    assert mono.dtype == np.float32
    assert mono.tolist() == [[0.5, -0.5, 0.5]]
    assert to_channels(mono, 2).tolist() == [mono[0].tolist()] * 2
    assert to_channels(stereo, 2) is stereo


@pytest.mark.parametrize(("given_channels", "wanted"), [(3, 2), (1, 3), (2, 0)])
def test_other_numbers_of_channels_are_refused(given_channels: int, wanted: int) -> None:
    with pytest.raises(ValueError, match="channels"):
        to_channels(np.zeros((given_channels, 4), dtype=np.float32), wanted)
