"""Files as some programs and devices write them: taken for what they are, or refused, and never noise."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deployments.audio.decode.containers.ogg import _crc
from deployments.audio.decode.errors import BadAudio, BadAudioCode, UnsupportedMedia
from deployments.audio.decode.sniff import sniff, what_it_is
from deployments.audio.wav import encode_wav
from tests.deployments.audio.decode.files import LENGTH, RATE_HZ, encoded, ffmpeg, original, recorded, tones
from tests.deployments.audio.decode.test_decoder import _decode, _refusal

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def _wav(
    data: bytes,
    *,
    tag: int,
    bits: int,
    block_bytes: int,
    extra: bytes = b"",
    rate_hz: int = RATE_HZ,
    channels: int = 2,
    order: str = "<",
    announced: int | None = None,
) -> bytes:
    fmt = struct.pack(f"{order}HHIIHH", tag, channels, rate_hz, rate_hz * block_bytes, block_bytes, bits)
    fmt += struct.pack(f"{order}H", len(extra)) + extra
    size = len(data) if announced is None else announced
    chunks = (
        b"fmt " + struct.pack(f"{order}I", len(fmt)) + fmt + b"data" + struct.pack(f"{order}I", size) + data
    )
    return (
        (b"RIFF" if order == "<" else b"RIFX") + struct.pack(f"{order}I", len(chunks) + 4) + b"WAVE" + chunks
    )


def _integers(bits: int) -> np.ndarray:
    return np.round(tones(LENGTH, RATE_HZ).T * 2.0 ** (bits - 1)).astype(np.int64)


@pytest.mark.parametrize("bits", [17, 20, 24, 32])
@pytest.mark.parametrize("is_extensible", [True, False])
def test_fewer_valid_bits_than_the_container_has_are_read_as_libsndfile_reads_them(
    tmp_path: Path, bits: int, is_extensible: bool
) -> None:
    values = (_integers(bits) << 32 - bits).astype("<i4")
    extra = struct.pack("<HIH", bits, 3, PCM) + GUID_TAIL if is_extensible else b""
    tag, said = (EXTENSIBLE, 32) if is_extensible else (PCM, bits)
    data = _wav(values.tobytes(), tag=tag, bits=said, block_bytes=8, extra=extra)
    decoded, samples, _ = _decode(tmp_path, data)
    assert decoded.codec == "pcm_s32le"
    assert np.array_equal(samples.T, (_integers(bits) / 2.0 ** (bits - 1)).astype(np.float32))
    if is_extensible:
        referee, _ = soundfile.read(io.BytesIO(data), dtype="float32")
        assert np.array_equal(samples.T, referee)


def test_twelve_bits_in_sixteen(tmp_path: Path) -> None:
    data = _wav((_integers(12) << 4).astype("<i2").tobytes(), tag=PCM, bits=12, block_bytes=4)
    assert np.array_equal(_decode(tmp_path, data)[1].T, (_integers(12) / 2.0**11).astype(np.float32))


@pytest.mark.parametrize(
    ("tag", "bits", "block_bytes"),
    [(PCM, 16, 8), (PCM, 24, 4), (PCM, 16, 3), (PCM, 0, 4), (PCM, 40, 10), (FLOAT, 16, 4), (FLOAT, 32, 16)],
)
def test_a_header_that_contradicts_itself_is_refused(
    tmp_path: Path, tag: int, bits: int, block_bytes: int
) -> None:
    refusal = _refusal(tmp_path, _wav(bytes(120_000), tag=tag, bits=bits, block_bytes=block_bytes))
    assert refusal.code is BadAudioCode.CORRUPT
    assert "contradicts itself" in refusal.detail


@pytest.mark.parametrize(("bits", "full_scale"), [(32, 2.0**15), (24, 2.0**23)])
def test_the_old_floats_of_cool_edit(tmp_path: Path, bits: int, full_scale: float) -> None:
    floats = (original().T * full_scale).astype("<f4")
    data = _wav(floats.tobytes(), tag=PCM, bits=bits, block_bytes=8, extra=b"\1\0")
    assert np.array_equal(_decode(tmp_path, data)[1], original())


def test_rifx_is_read(tmp_path: Path) -> None:
    data = _wav(_integers(16).astype(">i2").tobytes(), tag=PCM, bits=16, block_bytes=4, order=">")
    assert np.array_equal(_decode(tmp_path, data)[1], original())


def test_bw64_is_read(tmp_path: Path) -> None:
    assert np.array_equal(_decode(tmp_path, b"BW64" + recorded("wav rf64")[4:])[1], original())


def test_wave64_is_read(tmp_path: Path) -> None:
    data = encoded(original(), RATE_HZ, "w64", "PCM_16")
    assert np.array_equal(_decode(tmp_path, data)[1], original())
    assert _refusal(tmp_path, data[: len(data) // 2]).code is BadAudioCode.TRUNCATED


@pytest.mark.parametrize("excess", [1, 8, 36, 44])
def test_a_wav_that_counts_its_header_as_audio_is_taken(tmp_path: Path, excess: int) -> None:
    audio = _integers(16).astype("<i2").tobytes()
    data = _wav(audio, tag=PCM, bits=16, block_bytes=4, announced=len(audio) + excess)
    assert np.array_equal(_decode(tmp_path, data)[1], original())


@pytest.mark.parametrize("excess", [1000, 500_000])
def test_a_wav_that_lacks_more_is_cut_off(tmp_path: Path, excess: int) -> None:
    audio = _integers(16).astype("<i2").tobytes()
    data = _wav(audio, tag=PCM, bits=16, block_bytes=4, announced=len(audio) + excess)
    refusal = _refusal(tmp_path, data)
    assert refusal.code is BadAudioCode.TRUNCATED
    assert f"{excess} bytes of" in refusal.detail


def test_a_wav_that_announces_too_little_is_refused(tmp_path: Path) -> None:
    audio = _integers(16).astype("<i2").tobytes()
    data = _wav(audio, tag=PCM, bits=16, block_bytes=4, announced=len(audio) // 2)
    assert _refusal(tmp_path, data).code is BadAudioCode.CORRUPT


@pytest.mark.parametrize("qualities", [(5, 4), (4, 4)])
def test_a_chained_ogg_is_decoded_link_by_link(tmp_path: Path, qualities: tuple[int, int]) -> None:
    wav = encoded(original(), RATE_HZ, "wav", "PCM_16")
    links = [ffmpeg(wav, f"-f ogg -c:a libvorbis -q:a {quality}") for quality in qualities]
    expected = np.concatenate([_decode(tmp_path, link)[1] for link in links], axis=1)
    decoded, samples, _ = _decode(tmp_path, b"".join(links))
    assert samples.shape[1] == 2 * LENGTH
    assert decoded.peak_dbfs < 0.0
    assert np.array_equal(samples, expected)


def test_links_of_different_rates_are_refused_in_plain_words(tmp_path: Path) -> None:
    data = encoded(tones(44_100), 44_100, "ogg") + recorded("ogg vorbis")
    refusal = _refusal(tmp_path, data)
    assert refusal.code is BadAudioCode.CORRUPT
    assert "several recordings, one after the other" in refusal.detail


def _last_page(data: bytes) -> int:
    return data.rindex(b"OggS\0")


def _with_crc(page: bytes) -> bytes:
    return page[:22] + _crc(page[:22] + bytes(4) + page[26:]).to_bytes(4, "little") + page[26:]


@pytest.mark.parametrize("name", ["ogg vorbis", "ogg opus", "ogg flac"])
def test_an_ogg_without_the_mark_of_its_end_is_taken(tmp_path: Path, name: str) -> None:
    data = recorded(name)
    at = _last_page(data)
    page = data[at : at + 5] + bytes((data[at + 5] & ~4,)) + data[at + 6 :]
    samples = _decode(tmp_path, data[:at] + _with_crc(page))[1]
    assert LENGTH <= samples.shape[1] < LENGTH + 4096  # nothing says how much of the last packet is padding
    assert np.array_equal(samples[:, :LENGTH], _decode(tmp_path, data)[1])


@pytest.mark.parametrize("lacing", [b"", b"\0"])
@pytest.mark.parametrize("name", ["ogg vorbis", "ogg opus"])
def test_an_ogg_with_an_empty_last_page_is_taken(tmp_path: Path, name: str, lacing: bytes) -> None:
    data = recorded(name)
    at = _last_page(data)
    last = data[at:]
    before = _with_crc(last[:5] + bytes((last[5] & ~4,)) + last[6:])
    number = int.from_bytes(last[18:22], "little") + 1
    empty = (
        last[:5]
        + b"\4"
        + last[6:18]
        + number.to_bytes(4, "little")
        + bytes(4)
        + bytes((len(lacing),))
        + lacing
    )
    samples = _decode(tmp_path, data[:at] + before + _with_crc(empty))[1]
    assert np.array_equal(samples[:, :LENGTH], _decode(tmp_path, data)[1])


@pytest.mark.parametrize("place", ["body", "checksum", "capture"])
def test_damage_in_the_last_page_of_an_ogg_is_refused(tmp_path: Path, place: str) -> None:
    data = bytearray(recorded("ogg vorbis"))
    at = _last_page(bytes(data))
    data[at + {"body": 27 + data[at + 26] + 5, "checksum": 22, "capture": 1}[place]] ^= 0x55
    assert _refusal(tmp_path, bytes(data)).code is BadAudioCode.CORRUPT


def test_a_page_that_is_missing_in_the_middle_is_refused(tmp_path: Path) -> None:
    data = recorded("ogg opus")
    pages = [at for at in range(len(data)) if data[at : at + 5] == b"OggS\0"]
    assert len(pages) >= 5
    refusal = _refusal(tmp_path, data[: pages[3]] + data[pages[4] :])
    assert refusal.code is BadAudioCode.CORRUPT


@pytest.mark.parametrize("brand", [b"3gp4", b"qt  ", b"mp42", b"isom", b"dash", b"M4B ", b"xyz0"])
def test_an_mp4_is_known_by_its_boxes_whatever_its_brand(tmp_path: Path, brand: bytes) -> None:
    data = recorded("m4a")
    branded = data[:8] + brand + data[12:]
    assert np.array_equal(_decode(tmp_path, branded)[1], _decode(tmp_path, data)[1])


def test_a_missing_fragment_is_refused(tmp_path: Path) -> None:
    data = recorded("mp4 fragments")
    moofs = [at - 4 for at in range(len(data)) if data[at : at + 4] == b"moof"]
    assert len(moofs) >= 4
    refusal = _refusal(tmp_path, data[: moofs[1]] + data[moofs[2] :])
    assert refusal.code is BadAudioCode.CORRUPT


def test_a_video_without_sound_is_unsupported(tmp_path: Path) -> None:
    video = _silent_video()
    with pytest.raises(UnsupportedMedia, match="no audio in this M4A file"):
        _decode(tmp_path, video)


def _silent_video() -> bytes:
    wav = encoded(original(), RATE_HZ, "wav", "PCM_16")
    return ffmpeg(wav, "-f lavfi -i color=s=64x64:d=1 -map 1:v -f mp4 -c:v mpeg4")


@pytest.mark.parametrize(
    "front",
    [
        pytest.param(b"\xff" * 700, id="all ones"),
        pytest.param(bytes(700), id="zeros"),
        pytest.param(
            b"ICY 200 OK\r\nicy-name: Radio\r\nicy-br: 128\r\n\r\n", id="the header of a radio stream"
        ),
        pytest.param(bytes(range(1, 250)), id="the rest of a frame"),
    ],
)
@pytest.mark.parametrize("name", ["mp3", "mp3 without a header", "aac"])
def test_frames_that_begin_later_are_found(tmp_path: Path, name: str, front: bytes) -> None:
    data = recorded(name)
    data = data[data.index(b"\xff") :] if name == "mp3" else data
    assert np.array_equal(_decode(tmp_path, front + data)[1], _decode(tmp_path, data)[1])


def test_an_mp3_that_begins_inside_a_frame(tmp_path: Path) -> None:
    data = recorded("mp3 without a header")
    whole, rest = _decode(tmp_path, data)[1], _decode(tmp_path, data[1313:])[1]
    assert 0 < whole.shape[1] - rest.shape[1] <= 5 * 1152
    assert np.array_equal(rest[:, -RATE_HZ:], whole[:, -RATE_HZ:])


TAG_IN_FRONT = b"ID3\x03\x00\x00\x00\x00\x02\x00" + b"TIT2\x00\x00\x00\x05\x00\x00\x00title".ljust(256, b"\0")
TAG_BEHIND = b"TAG" + b"A title".ljust(125, b"\0")


@pytest.mark.parametrize("between", [b"", TAG_IN_FRONT, TAG_BEHIND, TAG_BEHIND + TAG_IN_FRONT])
def test_joined_mp3s_are_decoded_one_by_one(tmp_path: Path, between: bytes) -> None:
    data = recorded("mp3")
    data = data[data.index(b"\xff") :]
    one = _decode(tmp_path, data)[1]
    joined = _decode(tmp_path, TAG_IN_FRONT + data + between + data)[1]
    assert np.array_equal(joined, np.concatenate([one, one], axis=1))


def test_joined_mp3s_of_which_the_first_is_cut_off_are_refused(tmp_path: Path) -> None:
    data = recorded("mp3")
    with pytest.raises(BadAudio):
        _decode(tmp_path, data[: len(data) // 2] + data)


@pytest.mark.parametrize("level", [3.4e38, 1e20, 1e3])
def test_levels_that_no_music_has_are_refused_in_plain_words(tmp_path: Path, level: float) -> None:
    samples = tones(44_100)
    samples[0, 20_000] = level
    refusal = _refusal(tmp_path, encode_wav(samples, 44_100))
    assert refusal.code is BadAudioCode.TOO_LOUD
    assert "dB over full scale" in refusal.detail


def test_a_hot_mix_in_floats_is_taken(tmp_path: Path) -> None:
    assert _decode(tmp_path, encode_wav(60.0 * tones(44_100), 44_100))[0].peak_dbfs > 29.0


LIBAV_WORDS = ("libav", "ffmpeg", "pcm_", "adpcm_", "mp3float", "Invalid", "Errno", "av.")


def test_what_is_said_of_a_file_that_is_not_read_is_for_musicians(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        _decode(tmp_path, encoded(tones(44_100, channels=1), 44_100, "wav", "G721_32"))
    assert "this WAV file" in caught.value.detail
    assert "none of" not in caught.value.detail
    assert not any(word in caught.value.detail for word in LIBAV_WORDS)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk", "a MIDI file: it has notes, and no sound"),
        (b"#EXTM3U\nsong.mp3\n", "a playlist"),
        (b"just some text", "no audio format that is read here"),
        (b"RIFF\x24\0\0\0AVI LIST", "a RIFF file without audio, or a video"),
    ],
)
def test_other_files_are_called_what_they_are(data: bytes, said: str) -> None:
    assert sniff(io.BytesIO(data)) is None
    assert said in what_it_is(io.BytesIO(data))
    assert "send WAV, AIFF, FLAC, MP3" in what_it_is(io.BytesIO(data))
