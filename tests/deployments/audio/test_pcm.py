import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deployments.audio.pcm import L16, PcmFormat, decode_pcm, encode_pcm, l16
from deployments.audio.samples import Samples
from tests.support.clips import music

FORMATS = [PcmFormat(bits, big_endian) for bits in (16, 24, 32) for big_endian in (False, True)]
signals = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 3), st.integers(0, 40)), elements=st.floats(-1.5, 1.5, width=32)
)


def test_samples_are_rounded_and_kept_inside_full_scale() -> None:
    samples = np.array([0.0, 0.5, -1.0, 1.0, 2.0, -2.0, 0.6 / 32768, -0.4 / 32768], dtype="<f4")
    given = np.frombuffer(l16(samples.tobytes()), dtype=">i2")
    assert given.tolist() == [0, 16384, -32768, 32767, 32767, -32768, 1, 0]


def test_other_programs_read_it() -> None:
    stereo = np.array([[0.25, -0.5], [0.125, 0.75]], dtype="<f4")
    read, _ = soundfile.read(
        io.BytesIO(l16(stereo.tobytes())),
        format="RAW",
        subtype="PCM_16",
        endian="BIG",
        samplerate=44_100,
        channels=2,
    )
    assert read.tolist() == stereo.tolist()


@pytest.mark.parametrize("form", FORMATS)
def test_other_programs_read_and_write_it(form: PcmFormat) -> None:
    samples = music(0.1, channels=2)
    raw = {
        "format": "RAW",
        "subtype": f"PCM_{form.bits}",
        "endian": "BIG" if form.big_endian else "LITTLE",
        "samplerate": 44_100,
    }
    ours = encode_pcm(samples, form)
    read, _ = soundfile.read(io.BytesIO(ours), channels=2, dtype="float32", **raw)
    assert np.array_equal(read.T, decode_pcm(ours, 2, form))
    assert np.abs(read.T - samples).max() <= 0.5 / 2 ** (form.bits - 1) + 2.0**-26
    theirs = io.BytesIO()
    soundfile.write(theirs, read, **raw)
    assert np.array_equal(decode_pcm(theirs.getvalue(), 2, form), read.T)


@given(st.data(), st.sampled_from([form for form in FORMATS if form.bits < 32]), st.integers(1, 3))
def test_every_integer_comes_back(data: st.DataObject, form: PcmFormat, channels: int) -> None:
    size = channels * form.sample_bytes * data.draw(st.integers(0, 30))
    given_bytes = data.draw(st.binary(min_size=size, max_size=size))
    samples = decode_pcm(given_bytes, channels, form)
    assert samples.dtype == np.float32
    assert encode_pcm(samples, form) == given_bytes


@given(signals, st.sampled_from(FORMATS))
def test_what_was_rounded_once_is_not_rounded_again(samples: Samples, form: PcmFormat) -> None:
    data = encode_pcm(samples, form)
    assert len(data) == samples.size * form.sample_bytes
    decoded = decode_pcm(data, samples.shape[0], form)
    assert decoded.shape == samples.shape
    assert encode_pcm(decoded, form) == data
    assert np.abs(decoded - np.clip(samples, -1, 1)).max(initial=0) <= 2.0 ** (1 - form.bits)


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_no_number_or_no_sample_is_defined(form: PcmFormat) -> None:
    absurd = np.array([[np.nan, np.inf, -np.inf, 3e38, -3e38]], np.float32)
    decoded = decode_pcm(encode_pcm(absurd, form), 1, form)
    greatest = np.float32(1 - 2.0 ** (1 - form.bits))
    assert decoded.tolist() == [[0.0, greatest, -1.0, greatest, -1.0]]


def test_halves_go_to_the_even_integer() -> None:
    halves = np.array([[0.5, 1.5, 2.5, -0.5, -1.5]], np.float32) / 2**15
    assert np.frombuffer(encode_pcm(halves, PcmFormat(16)), "<i2").tolist() == [0, 2, 2, 0, -2]


def test_l16_is_one_of_them() -> None:
    samples = music(0.05, channels=2)
    assert l16(samples.T.astype("<f4").tobytes()) == encode_pcm(samples, L16)


@pytest.mark.parametrize(("size", "channels"), [(5, 2), (3, 1), (4, 0)])
def test_half_a_sample_is_refused(size: int, channels: int) -> None:
    with pytest.raises(ValueError, match="no whole samples"):
        decode_pcm(bytes(size), channels, L16)
