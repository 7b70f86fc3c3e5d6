import numpy as np
import pytest
import soxr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployments.audio.resample import StreamingResampler, mixed_down, resample, to_channels
from deployments.audio.samples import Samples
from tests.support.clips import music

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


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 20_000), max_size=6),
    channels=st.integers(1, 2),
    from_hz=st.sampled_from(RATES_HZ),
    to_hz=st.sampled_from(RATES_HZ),
)
def test_a_signal_that_comes_in_pieces_gives_the_same_bits(
    cuts: list[int], channels: int, from_hz: int, to_hz: int
) -> None:
    samples = music(20_000 / from_hz, from_hz, channels)
    whole = soxr.resample(np.ascontiguousarray(samples.T), from_hz, to_hz, quality="VHQ").T
    stream = StreamingResampler(from_hz, to_hz, channels)
    pieces = [stream.push(piece) for piece in np.split(samples, sorted(cuts), axis=1)]
    given = np.concatenate([*pieces, stream.finish()], axis=1)
    assert given.shape == (channels, round(samples.shape[1] * to_hz / from_hz))
    assert given.dtype == np.float32
    assert np.array_equal(given, whole[:, : given.shape[1]])
    assert np.array_equal(resample(samples, from_hz, to_hz), given)


@pytest.mark.parametrize("to_hz", [22_050, 44_100, 48_000, 96_000])
def test_little_is_held_back(to_hz: int) -> None:
    """Who listens while the signal comes is told of it a few hundredths of a second later."""
    stream = StreamingResampler(32_000, to_hz, 1)
    given = 0
    for pushed, piece in enumerate(np.split(music(2.0, 32_000, 1), 20, axis=1), 1):
        given += stream.push(piece).shape[1]
        assert pushed * 0.1 - given / to_hz < 0.06


def test_a_length_that_soxr_rounds_down_is_made_whole() -> None:
    """25 samples are 367.5: Python rounds up to the even 368, libsoxr down."""
    assert resample(np.full((2, 25), 0.25, np.float32), 12_000, 176_400).shape == (2, 368)


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


def _noise(seed: int, samples: int = 4000) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32) * np.float32(0.2)


@pytest.mark.parametrize("louder", [1.0, 0.9, 1.1])
@pytest.mark.parametrize("seed", range(5))
def test_antiphase_stereo_is_not_cancelled(seed: int, louder: float) -> None:
    left = _noise(seed)
    stereo = np.stack([left, -left * np.float32(louder)])
    mono = mixed_down(stereo, 1)
    expected = stereo[1:] if louder > 1 else stereo[:1]
    np.testing.assert_array_equal(mono, expected)


@pytest.mark.parametrize("width", [0.0, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_other_stereo_is_averaged(seed: int, width: float) -> None:
    """From two equal channels to two that have nothing in common."""
    middle, side = _noise(seed), _noise(seed + 100)
    stereo = np.stack([middle, (1 - width) * middle + width * side]).astype(np.float32)
    np.testing.assert_array_equal(mixed_down(stereo, 1), stereo.mean(axis=0, keepdims=True, dtype=np.float32))


def test_one_silent_channel_and_silence_are_averaged() -> None:
    left = _noise(1)
    stereo = np.stack([left, np.zeros_like(left)])
    np.testing.assert_array_equal(mixed_down(stereo, 1), left[np.newaxis] / 2)
    assert not mixed_down(np.zeros((2, 100), np.float32), 1).any()
    assert mixed_down(np.zeros((2, 0), np.float32), 1).shape == (1, 0)
    assert mixed_down(stereo, 2) is stereo
