"""Outlines of waveforms: what a reader of audiowaveform's format finds in them."""

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.audio.peaks import peaks_of
from deployments.audio.samples import Samples, SoundFormat


def read_dat(data: bytes) -> tuple[SoundFormat, int, np.ndarray]:
    """An outline as the format is described: sound, samples per pixel, int8 [pixels, channels, (low, high)]."""
    version, flags, rate_hz, per_pixel, length, channels = struct.unpack_from("<iIiiIi", data)
    assert (version, flags) == (2, 1)
    assert len(data) == 24 + 2 * length * channels
    return (
        SoundFormat(rate_hz, channels),
        per_pixel,
        np.frombuffer(data[24:], "i1").reshape(length, channels, 2),
    )


def in_blocks(samples: Samples, cuts: list[int]) -> list[Samples]:
    return np.split(samples, sorted(min(cut, samples.shape[1]) for cut in cuts), axis=1)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 2),
    st.integers(0, 1500),
    st.lists(st.integers(0, 1500), max_size=6),
    st.floats(0.0, 3.0),
)
def test_every_pixel_just_covers_its_samples_however_they_come(
    channels: int, count: int, cuts: list[int], level: float
) -> None:
    samples = (level * np.random.default_rng(count).standard_normal((channels, count))).astype(np.float32)
    data = peaks_of(in_blocks(samples, cuts), SoundFormat(44_100, channels))
    sound, per_pixel, pixels = read_dat(data)
    assert (sound, per_pixel, len(pixels)) == (SoundFormat(44_100, channels), 256, -(-count // 256))
    for number, pixel in enumerate(pixels):
        for channel in range(channels):
            heard = np.clip(samples[channel, 256 * number : 256 * (number + 1)] * 128.0, -128, 127)
            low, high = map(int, pixel[channel])
            assert low <= heard.min() < low + 1 or heard.min() == low == 127
            assert high - 1 < heard.max() <= high or heard.max() == high == -128


def test_silence_is_flat_and_the_quietest_sound_is_not() -> None:
    samples = np.zeros((1, 512), np.float32)
    samples[0, 300], samples[0, 301] = 1e-6, -1e-6
    assert read_dat(peaks_of([samples], SoundFormat(8000, 1)))[2].tolist() == [[[0, 0]], [[-1, 1]]]
