import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployments.audio.resample import StreamingResampler, resample, to_channels
from deployments.audio.samples import Samples
from tests.clips import music

RATES_HZ = [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000]


def _sine(hz: float, rate_hz: int, duration_s: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(rate_hz * duration_s)) / rate_hz).astype(np.float32)


def streamed(samples: Samples, from_hz: int, to_hz: int, length: int, *cuts: int) -> Samples:
    """`length` samples of a stream that comes in pieces."""
    stream = StreamingResampler(from_hz, to_hz, samples.shape[0])
    pieces = [stream.push(piece) for piece in np.split(samples, cuts, axis=1)]
    return np.concatenate([*pieces, stream.finish(total=length)], axis=1)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(0, 5000),
    channels=st.integers(1, 2),
    own_hz=st.sampled_from([*RATES_HZ, 192_000]),
    other_hz=st.sampled_from([32_000, 44_100]),
)
@example(length=53, channels=1, own_hz=48_000, other_hz=32_000)  # half a sample, which libsoxr rounds up
def test_there_and_back_is_as_long_as_before(length: int, channels: int, own_hz: int, other_hz: int) -> None:
    samples = np.full((channels, length), 0.25, dtype=np.float32)
    there = resample(samples, own_hz, other_hz)
    back = streamed(there, other_hz, own_hz, length)
    assert back.shape == samples.shape
    assert back.dtype == np.float32
    assert np.array_equal(back, streamed(there, other_hz, own_hz, length, there.shape[1] // 3))


def test_there_and_back_music_is_the_same() -> None:
    samples = music(1.0, 48_000, 2)
    back = streamed(resample(samples, 48_000, 44_100), 44_100, 48_000, samples.shape[1])
    inner = slice(2_400, -2_400)
    assert np.corrcoef(back[0, inner], samples[0, inner])[0, 1] > 0.999


def test_a_length_may_be_filled() -> None:
    ramp = np.array([[0.25, 0.5, 0.75]], np.float32)
    assert streamed(ramp, 8000, 8000, 5).tolist() == [[0.25, 0.5, 0.75, 0.75, 0.75]]
    assert streamed(ramp[:, :0], 8000, 8000, 2).tolist() == [[0.0, 0.0]]


def test_what_was_given_cannot_be_cut() -> None:
    stream = StreamingResampler(8000, 8000, 1)
    stream.push(np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="given already"):
        stream.finish(total=2)


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
