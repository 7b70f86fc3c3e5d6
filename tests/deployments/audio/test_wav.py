import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deployments.audio.samples import Samples, SoundFormat
from deployments.audio.wav import HEADER_BYTES, NotOurWav, decode_wav, encode_wav, unpack_wav, wav_header

audio = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 2), st.integers(0, 50)),
    elements=st.floats(-4, 4, width=32),
)


@given(audio, st.sampled_from([8000, 44100, 192_000]))
def test_what_is_written_is_read_bit_for_bit(samples: Samples, rate_hz: int) -> None:
    read, read_hz = decode_wav(encode_wav(samples, rate_hz))
    assert read_hz == rate_hz
    assert read.dtype == np.float32
    assert read.tobytes() == samples.tobytes()
    assert read.shape == samples.shape


@given(audio, st.sampled_from([8000, 44100]))
def test_a_file_is_its_header_and_the_samples_as_they_are_unpacked(samples: Samples, rate_hz: int) -> None:
    data = encode_wav(samples, rate_hz)
    sound, interleaved = unpack_wav(data)
    assert sound == SoundFormat(rate_hz, samples.shape[0])
    assert data == wav_header(samples.shape[1], samples.shape[0], rate_hz) + interleaved
    assert np.frombuffer(interleaved, "<f4").tolist() == samples.T.ravel().tolist()


def test_other_programs_read_it() -> None:
    samples = np.linspace(-1.5, 1.5, 200, dtype=np.float32).reshape(2, 100)
    read, rate_hz = soundfile.read(io.BytesIO(encode_wav(samples, 22050)), dtype="float32")
    assert rate_hz == 22050
    assert np.array_equal(read.T, samples)
    assert soundfile.info(io.BytesIO(encode_wav(samples, 22050))).subtype == "FLOAT"


def test_the_memory_layout_of_the_samples_leaves_no_trace() -> None:
    samples = np.arange(12, dtype=np.float32).reshape(2, 6)
    assert encode_wav(np.asfortranarray(samples), 32000) == encode_wav(samples, 32000)


def test_a_header_can_be_written_ahead_of_the_samples() -> None:
    samples = np.ones((1, 7), dtype=np.float32)
    assert wav_header(7, 1, 32000) + samples.T.tobytes() == encode_wav(samples, 32000)


def test_more_than_riff_can_count_is_refused() -> None:
    with pytest.raises(ValueError, match="more than a WAV can hold"):
        wav_header(2**30, 1, 48000)


def _written_by_soundfile(subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((100, 2)), 44100, format="WAV", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"RIFF" + bytes(200), id="zeros"),
        pytest.param(_written_by_soundfile("PCM_16"), id="16 bit"),
        pytest.param(_written_by_soundfile("FLOAT"), id="float with other chunks"),
        pytest.param(encode_wav(np.ones((2, 50), dtype=np.float32), 44100)[:-1], id="cut off"),
        pytest.param(encode_wav(np.ones((2, 50), dtype=np.float32), 44100) + b"\0", id="with a tail"),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(NotOurWav):
        decode_wav(data)


@given(st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES + 16))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(NotOurWav):
        decode_wav(data)


@pytest.mark.parametrize(("channels", "rate_hz"), [(59, 33_554_432), (16_384, 44_100)])
def test_no_header_can_say_so_much(channels: int, rate_hz: int) -> None:
    """A second of it, or a frame, has more bytes than there are numbers for."""
    with pytest.raises(ValueError, match="channels at"):
        wav_header(10, channels, rate_hz)
    header = bytearray(encode_wav(np.ones((2, 4), dtype=np.float32), 44_100))
    struct.pack_into("<HI", header, 22, channels, rate_hz)
    struct.pack_into("<I", header, 54, 0)
    with pytest.raises(NotOurWav):
        decode_wav(bytes(header))


@pytest.mark.parametrize("offset", [22, 24, 40, 54])
def test_a_damaged_header_is_refused(offset: int) -> None:
    data = bytearray(encode_wav(np.ones((2, 4), dtype=np.float32), 44100))
    struct.pack_into("<H", data, offset, 0xFFFF)
    with pytest.raises(NotOurWav):
        decode_wav(bytes(data))
