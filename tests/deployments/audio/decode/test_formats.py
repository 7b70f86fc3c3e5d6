"""What holds for every format: a whole file gives all of its audio, and half of one is never taken in silence."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.audio.decode.errors import AudioError, BadAudio, BadAudioCode
from deployments.audio.levels import rms_dbfs
from deployments.audio.samples import Samples
from tests.deployments.audio.decode.files import LENGTH, RATE_HZ, RECORDINGS, original, recorded
from tests.deployments.audio.decode.test_decoder import _decode

ENCODER_PADDING_SAMPLES = 1024
"""What a header says that is to be left out at the beginning and the end; nothing tells whether that is true."""


@pytest.fixture(params=RECORDINGS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _samples(folder: Path, data: bytes) -> Samples:
    return _decode(folder, data)[1]


def test_a_whole_file_gives_all_of_its_audio_in_its_place(tmp_path: Path, name: str) -> None:
    recording = RECORDINGS[name]
    decoded, samples, rate_hz = _decode(tmp_path, recorded(name))
    assert (decoded.channels, rate_hz) == (2, RATE_HZ)
    assert samples.shape[1] == LENGTH + recording.more
    audio = samples[:, recording.front : recording.front + LENGTH]
    if recording.is_lossless:
        assert np.array_equal(audio, original())
    else:
        assert rms_dbfs((audio - original())[:, 2000:-2000]) < rms_dbfs(original()) - 15


@pytest.mark.parametrize("kept", [0.25, 0.5, 0.9, 0.98])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, name: str, kept: float) -> None:
    data = recorded(name)
    if name == "wav to a pipe":
        pytest.skip("it does not say how long it is")
    with pytest.raises(BadAudio) as caught:
        _decode(tmp_path, data[: int(len(data) * kept)])
    assert caught.value.code in (BadAudioCode.TRUNCATED, BadAudioCode.CORRUPT)


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(bytes(200_000), id="zeros"),
        pytest.param(b"TAG" + b"A title".ljust(125, b"\0"), id="a tag"),
    ],
)
def test_what_players_put_behind_a_file_does_no_harm(tmp_path: Path, name: str, behind: bytes) -> None:
    if name == "wav to a pipe":
        pytest.skip("all up to its end is audio")
    assert np.array_equal(_samples(tmp_path, recorded(name) + behind), _whole(name))


@cache
def _whole(name: str) -> Samples:
    """What an undamaged recording decodes to."""
    with TemporaryDirectory() as folder:
        return _samples(Path(folder), recorded(name))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0.0, 1.0, exclude_max=True), bit=st.integers(0, 7))
def test_a_bit_that_is_turned_is_refused_or_costs_no_audio(
    tmp_path: Path, name: str, place: float, bit: int
) -> None:
    """Where the format has checksums, nothing at all may change."""
    damaged = bytearray(recorded(name))
    damaged[int(place * len(damaged))] ^= 1 << bit
    try:
        samples = _samples(tmp_path, bytes(damaged))
    except AudioError:
        return
    whole = _whole(name)
    if RECORDINGS[name].is_checked:
        assert np.array_equal(samples, whole)
    assert abs(samples.shape[1] - whole.shape[1]) <= ENCODER_PADDING_SAMPLES
