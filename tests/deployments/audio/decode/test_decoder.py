"""What the decoder makes of files, in this process; `test_decode` runs it in its own."""

import hashlib
import struct
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.audio.decode.decoder import Decoded, decode_to_wav
from deployments.audio.decode.errors import AudioError, BadAudio, BadAudioCode, UnsupportedMedia
from deployments.audio.decode.limits import DecodeLimits
from deployments.audio.decode.sniff import sniff
from deployments.audio.levels import peak_dbfs, rms_dbfs
from deployments.audio.samples import Samples
from deployments.audio.wav import decode_wav, encode_wav
from tests.deployments.audio.decode.files import SIX_FORMATS, encoded, muxed, tones

LIMITS = DecodeLimits(
    timeout_s=20.0,
    memory_bytes=2 * 1024**3,
    max_duration_s=60.0,
    min_duration_s=0.1,
    max_channels=2,
    min_rate_hz=4000,
    max_rate_hz=192_000,
    max_output_bytes=2**31,
)


def _decode(folder: Path, data: bytes, limits: DecodeLimits = LIMITS) -> tuple[Decoded, Samples, int]:
    source, target = folder / "upload", folder / "decoded.wav"
    source.write_bytes(data)
    with source.open("rb") as file:
        container = sniff(file)
    if container is None:
        raise UnsupportedMedia("none of the six formats")
    decoded = decode_to_wav(source, target, container, limits)
    return decoded, *decode_wav(target.read_bytes())


def _refusal(folder: Path, data: bytes, limits: DecodeLimits = LIMITS) -> BadAudio:
    with pytest.raises(BadAudio) as caught:
        _decode(folder, data, limits)
    return caught.value


LOSSLESS = [
    *product(["wav", "aiff", "flac"], ["PCM_16", "PCM_24"]),
    *product(["wav", "aiff"], ["FLOAT", "DOUBLE", "PCM_32"]),
    ("wav", "PCM_U8"),
    ("flac", "PCM_S8"),
    ("w64", "PCM_24"),
    ("caf", "PCM_24"),
    ("caf", "PCM_S8"),
    ("caf", "FLOAT"),
    ("caf", "ALAC_24"),
    ("aiff", "PCM_S8"),
    ("aiff", "PCM_U8"),
    ("rf64", "PCM_16"),
]


@pytest.mark.parametrize(("extension", "subtype"), LOSSLESS)
def test_lossless_audio_survives_exactly(tmp_path: Path, extension: str, subtype: str) -> None:
    data = encoded(tones(40_001, 11025), 11025, extension, subtype)
    (tmp_path / "expected").write_bytes(data)
    expected, _ = soundfile.read(tmp_path / "expected", dtype="float32", always_2d=True)
    decoded, samples, rate_hz = _decode(tmp_path, data)
    assert rate_hz == decoded.rate_hz == 11025
    assert np.array_equal(samples, expected.T)


def test_the_ends_of_the_integer_range_are_exact(tmp_path: Path) -> None:
    values = np.tile(np.array([-32768, -1, 0, 1, 32767], dtype=np.int16), 1000)
    soundfile.write(tmp_path / "ends.wav", values, 8000, subtype="PCM_16")
    _, samples, _ = _decode(tmp_path, (tmp_path / "ends.wav").read_bytes())
    assert np.array_equal(samples[0] * 32768, values.astype(np.float32))


def test_floats_above_full_scale_are_kept(tmp_path: Path) -> None:
    loud = 6.0 * tones(44100)
    decoded, samples, _ = _decode(tmp_path, encode_wav(loud, 44100))
    assert np.array_equal(samples, loud)
    assert decoded.peak_dbfs == pytest.approx(peak_dbfs(loud))


@pytest.mark.parametrize(
    ("extension", "codec", "rate_hz", "channels"),
    [
        ("mp3", "mp3", 44100, 2),
        ("mp3", "mp3", 22050, 1),
        ("ogg", "vorbis", 44100, 2),
        ("ogg", "vorbis", 12345, 1),
        ("m4a", "aac", 44100, 2),
        ("m4a", "aac", 32000, 1),
    ],
)
def test_lossy_audio_keeps_its_length_and_place(
    tmp_path: Path, extension: str, codec: str, rate_hz: int, channels: int
) -> None:
    original = tones(2 * rate_hz + 123, rate_hz, channels)
    decoded, samples, _ = _decode(tmp_path, encoded(original, rate_hz, extension))
    assert (decoded.codec, decoded.rate_hz, decoded.channels) == (codec, rate_hz, channels)
    assert samples.shape == original.shape
    assert rms_dbfs((samples - original)[:, 1000:-1000]) < rms_dbfs(original) - 15


def test_opus_is_read(tmp_path: Path) -> None:
    decoded, samples, _ = _decode(tmp_path, encoded(tones(48_000, 48_000), 48_000, "ogg", "OPUS"))
    assert (decoded.codec, samples.shape) == ("opus", (2, 48_000))


def test_what_is_reported_is_what_was_written(tmp_path: Path) -> None:
    decoded, samples, rate_hz = _decode(tmp_path, encoded(tones(100_000), 44100, "flac"))
    written = (tmp_path / "decoded.wav").read_bytes()
    assert written == encode_wav(samples, rate_hz)
    assert decoded.sha256 == hashlib.sha256(written).hexdigest()
    assert decoded.size_bytes == len(written)
    assert (decoded.channels, decoded.samples) == samples.shape
    assert decoded.rms_dbfs == pytest.approx(rms_dbfs(samples))
    assert decoded.peak_dbfs == pytest.approx(peak_dbfs(samples))


@pytest.mark.parametrize("extension", SIX_FORMATS)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_file_cut_in_the_middle_is_refused(tmp_path: Path, extension: str, kept: float) -> None:
    data = encoded(tones(80_000), 44100, extension)
    refusal = _refusal(tmp_path, data[: int(len(data) * kept)])
    assert refusal.code is BadAudioCode.TRUNCATED
    assert "cut off" in refusal.detail


def test_an_mp3_without_a_frame_count_is_refused_if_its_last_frame_is_incomplete(tmp_path: Path) -> None:
    data = muxed(tones(80_000), 44100, "mp3", "mp3", {"write_xing": "0", "id3v2_version": "0"})
    assert _decode(tmp_path, data)[0].samples > 79_000
    assert _refusal(tmp_path, data[: len(data) // 2]).code is BadAudioCode.TRUNCATED


@pytest.mark.parametrize(
    "options", [{}, {"movflags": "+faststart"}, {"movflags": "frag_keyframe+empty_moov"}]
)
def test_an_m4a_is_checked_whatever_its_order(tmp_path: Path, options: dict[str, str]) -> None:
    data = muxed(tones(80_000), 44100, "mp4", "aac", options)
    assert _decode(tmp_path, data)[0].samples - 80_000 in (
        0,
        1024,
    )  # fragments do not say what is padding in front
    for kept in (0.3, 0.9):
        assert _refusal(tmp_path, data[: int(len(data) * kept)]).code is BadAudioCode.TRUNCATED


@pytest.mark.parametrize("data_bytes", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path: Path, data_bytes: int) -> None:
    data = bytearray(encoded(tones(20_000), 44100, "wav", "PCM_16"))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", data_bytes)
    data[4:8] = b"\xff\xff\xff\xff"
    assert _decode(tmp_path, bytes(data))[0].samples == 20_000


def test_a_flac_from_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    data = bytearray(encoded(tones(20_000), 44100, "flac"))
    data[21] &= 0xF0  # the number of samples: 36 bits of STREAMINFO, here 0 for unknown
    data[22:26] = bytes(4)
    assert _decode(tmp_path, bytes(data))[0].samples == 20_000
    assert _refusal(tmp_path, bytes(data[: len(data) // 2])).code is BadAudioCode.TRUNCATED


@pytest.mark.parametrize("extension", SIX_FORMATS)
def test_a_tag_at_the_end_does_no_harm(tmp_path: Path, extension: str) -> None:
    data = encoded(tones(20_000), 44100, extension)
    clean = _decode(tmp_path, data)[1]
    assert np.array_equal(_decode(tmp_path, data + b"TAG" + b"A title".ljust(125, b"\0"))[1], clean)


@pytest.mark.parametrize("extension", ["mp3", "flac"])
def test_a_tag_at_the_beginning_does_no_harm(tmp_path: Path, extension: str) -> None:
    data = encoded(tones(20_000), 44100, extension)
    title = b"TIT2\x00\x00\x00\x05\x00\x00\x00caf\xe9"
    tagged = b"ID3\x03\x00\x00\x00\x00\x02\x00" + title.ljust(256, b"\0") + data
    assert np.array_equal(_decode(tmp_path, tagged)[1], _decode(tmp_path, data)[1])


@pytest.mark.parametrize("extension", ["flac", "ogg", "m4a"])
def test_damage_in_the_middle_is_refused(tmp_path: Path, extension: str) -> None:
    data = bytearray(encoded(tones(80_000), 44100, extension))
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(1).bytes(3000)
    assert _refusal(tmp_path, bytes(data)).code in (BadAudioCode.CORRUPT, BadAudioCode.TRUNCATED)


@pytest.mark.parametrize("extension", ["wav", "aiff"])
def test_a_file_without_samples_is_empty(tmp_path: Path, extension: str) -> None:
    data = encoded(np.zeros((1, 0), dtype=np.float32), 44100, extension)
    assert _refusal(tmp_path, data).code is BadAudioCode.EMPTY


def test_a_flac_without_samples_is_empty(tmp_path: Path) -> None:
    head = bytearray(encoded(tones(1000), 44100, "flac")[:42])
    head[4] |= 0x80  # the first block of metadata is the last
    head[22:26] = bytes(4)
    assert _refusal(tmp_path, bytes(head)).code is BadAudioCode.EMPTY


@pytest.mark.parametrize("extension", ["wav", "aiff", "flac", "ogg"])
def test_one_sample_is_too_short(tmp_path: Path, extension: str) -> None:
    refusal = _refusal(tmp_path, encoded(tones(1), 44100, extension))
    assert refusal.code is BadAudioCode.TOO_SHORT
    assert "0.1 s" in refusal.detail


def test_the_shortest_clip_that_is_taken(tmp_path: Path) -> None:
    assert _decode(tmp_path, encoded(tones(4410), 44100, "wav"))[0].samples == 4410
    assert _refusal(tmp_path, encoded(tones(4409), 44100, "wav")).code is BadAudioCode.TOO_SHORT


def test_the_longest_clip_that_is_taken(tmp_path: Path) -> None:
    two_seconds = replace(LIMITS, max_duration_s=2.0)
    assert _decode(tmp_path, encoded(tones(88_200), 44100, "flac"), two_seconds)[0].samples == 88_200
    refusal = _refusal(tmp_path, encoded(tones(88_201), 44100, "flac"), two_seconds)
    assert refusal.code is BadAudioCode.TOO_LONG
    assert "2 s" in refusal.detail


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "aiff"])
def test_eight_channels_are_refused_by_their_number(tmp_path: Path, extension: str) -> None:
    refusal = _refusal(tmp_path, encoded(tones(10_000, channels=8), 44100, extension))
    assert refusal.code is BadAudioCode.CHANNELS
    assert "8" in refusal.detail
    assert "2" in refusal.detail


@pytest.mark.parametrize("rate_hz", [3999, 192_001])
def test_odd_rates_have_limits(tmp_path: Path, rate_hz: int) -> None:
    refusal = _refusal(tmp_path, encoded(tones(50_000, rate_hz), rate_hz, "wav"))
    assert refusal.code is BadAudioCode.RATE
    assert str(rate_hz) in refusal.detail


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_finite_number_is_refused(tmp_path: Path, value: float) -> None:
    samples = tones(44100)
    samples[1, 40_000] = value
    assert _refusal(tmp_path, encode_wav(samples, 44100)).code is BadAudioCode.NOT_FINITE


def test_a_double_too_large_for_a_float_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "large.wav", np.full(44100, 1e300), 44100, subtype="DOUBLE")
    assert _refusal(tmp_path, (tmp_path / "large.wav").read_bytes()).code is BadAudioCode.NOT_FINITE


def test_a_codec_that_does_not_belong_there_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedMedia, match=r"WAV file is coded in a way that is not read here"):
        _decode(tmp_path, encoded(tones(44100, channels=1), 44100, "wav", "G721_32"))


@pytest.mark.parametrize(
    "playlist",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n%s\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '%s'\n",
    ],
)
@pytest.mark.parametrize("magic", [b"", b"RIFF\xff\xff\xff\xffWAVE", b"fLaC", b"FORM\x00\x00\x10\x00AIFF"])
def test_a_playlist_leads_nowhere_whatever_it_begins_with(
    tmp_path: Path, playlist: bytes, magic: bytes
) -> None:
    (tmp_path / "secret.wav").write_bytes(encoded(tones(44100), 44100, "wav"))
    with pytest.raises((UnsupportedMedia, BadAudio)):
        _decode(tmp_path, magic + playlist % bytes(tmp_path / "secret.wav"))


def test_cover_art_is_not_looked_at(tmp_path: Path) -> None:
    """A picture block that no picture decoder could read."""
    data = encoded(tones(44100), 44100, "flac")
    picture = (
        struct.pack(">II", 3, 9) + b"image/png" + struct.pack(">IIIIII", 0, 10, 10, 24, 0, 50) + b"x" * 50
    )
    first_block = data[4:42]
    with_picture = (
        b"fLaC" + first_block[:4] + first_block[4:] + b"\x06" + len(picture).to_bytes(3, "big") + picture
    )
    assert np.array_equal(_decode(tmp_path, with_picture + data[42:])[1], _decode(tmp_path, data)[1])


SEEDS = [encoded(tones(6000), 44100, extension) for extension in SIX_FORMATS]
MAGICS = [seed[:12] for seed in SEEDS] + [seed[:64] for seed in SEEDS]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(MAGICS), st.binary(max_size=600))
def test_random_bytes_after_a_magic_give_audio_or_a_clear_refusal(
    tmp_path: Path, magic: bytes, noise: bytes
) -> None:
    _audio_or_refusal(tmp_path, magic + noise)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_damaged_header_gives_audio_or_a_clear_refusal(
    tmp_path: Path, data: bytes, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(data)
    for offset, value in changes:
        damaged[offset] = value
    _audio_or_refusal(tmp_path, bytes(damaged))


def _audio_or_refusal(folder: Path, data: bytes) -> None:
    refusal: AudioError | None = None
    try:
        decoded, samples, _ = _decode(folder, data)
    except AudioError as error:
        refusal = error
    if refusal is None:
        assert samples.shape == (decoded.channels, decoded.samples)
        assert np.isfinite(samples).all()
    else:
        assert refusal.detail
        assert str(folder) not in refusal.detail
