import io

import pytest

from deployments.audio.decode.sniff import Container, sniff
from tests.deployments.audio.decode.files import SIX_FORMATS, encoded, tones

ID3 = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)


@pytest.mark.parametrize("extension", SIX_FORMATS)
def test_each_format_is_known_by_its_content(extension: str) -> None:
    assert sniff(io.BytesIO(encoded(tones(4410), 44100, extension))) is Container(extension)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_is_known_with_each_of_its_codecs(subtype: str) -> None:
    assert sniff(io.BytesIO(encoded(tones(4800), 48000, "ogg", subtype))) is Container.OGG


@pytest.mark.parametrize("extension", ["mp3", "flac"])
def test_a_tag_in_front_is_skipped(extension: str) -> None:
    data = ID3 + ID3 + bytes(100) + encoded(tones(4410), 44100, extension)
    assert sniff(io.BytesIO(data)) is Container(extension)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff", id="one byte"),
        pytest.param(b"just some text, named .wav", id="text"),
        pytest.param("text in UTF-16".encode("utf-16"), id="text with a byte order mark"),
        pytest.param(b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n", id="playlist"),
        pytest.param(b"ffconcat version 1.0\nfile /etc/passwd\n", id="concat"),
        pytest.param(b"<!doctype html><html></html>", id="html"),
        pytest.param(b"PK\x03\x04" + bytes(100), id="zip"),
        pytest.param(b"RIFF\x24\x00\x00\x00AVI LIST", id="avi"),
        pytest.param(b"FORM\x00\x00\x00\x248SVXVHDR", id="8svx"),
        pytest.param(b"\x00\x00\x00\x18ftypheic" + bytes(16), id="picture"),
        pytest.param(b"The wide road that leads to nowhere", id="text with the name of a box in its place"),
        pytest.param(b"OggS", id="four bytes of ogg"),
        pytest.param(b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(100), id="aac in adts"),
        pytest.param(b"\xff\xfd\x90\x04" + bytes(2000), id="layer II"),
        pytest.param(b"\xff\xfb\x90\x00" + b"x" * 2000, id="one header of layer III and no second"),
        pytest.param(ID3, id="a tag alone"),
        pytest.param(ID3 + b"RIFF\x24\x00\x00\x00WAVE", id="a tag before what has none"),
        pytest.param(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f", id="a tag longer than the file"),
    ],
)
def test_anything_else_is_unknown(data: bytes) -> None:
    assert sniff(io.BytesIO(data)) is None


def test_tags_without_end_are_not_followed() -> None:
    class Counting(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            return super().read(size)

    file = Counting(b"ID3\x04\x00\x00\x00\x00\x00\x00" * 5000)
    assert sniff(file) is None
    assert file.reads < 50


def test_names_for_decoders_and_clients() -> None:
    assert Container.M4A.demuxer == "mov"
    assert Container.MP3.demuxer == "mp3"
    assert [Container(extension).media_type for extension in SIX_FORMATS] == [
        *("audio/wav", "audio/mpeg", "audio/flac", "audio/ogg", "audio/mp4", "audio/aiff"),
    ]
