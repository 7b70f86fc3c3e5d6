from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from deployments.export.media_errors import BadPicture
from deployments.export.picture import MAX_PICTURE_BYTES, cover_jpeg, fill_frame, read_picture
from deployments.export.planar import FrameSize


def saved(picture: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, image_format, **options)
    return file.getvalue()


def halves(width: int = 40, height: int = 20) -> Image.Image:
    """Red on the left, blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 250
    pixels[:, width // 2 :, 2] = 250
    return Image.fromarray(pixels)


def bomb(width: int, height: int) -> bytes:
    """A small PNG that announces a huge picture, its pixels all zero."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_it_reads_what_musicians_have(image_format: str) -> None:
    picture = read_picture(saved(halves(), image_format))
    assert picture.shape == (20, 40, 3)
    assert np.abs(picture[10, 5].astype(int) - (250, 0, 0)).max() < 20
    assert np.abs(picture[10, 35].astype(int) - (0, 0, 250)).max() < 20


def test_a_phones_picture_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    picture = read_picture(saved(halves(), "PNG", exif=exif))
    assert picture.shape == (40, 20, 3)
    assert picture[5, 10].tolist() == [250, 0, 0]


def test_the_transparent_is_black() -> None:
    assert read_picture(saved(Image.new("RGBA", (4, 4), (255, 255, 255, 0)), "PNG")).max() == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF....WAVEfmt ",
        saved(halves(), "PNG")[:60],
        saved(halves(400, 400), "JPEG")[:-200],
        saved(halves(), "GIF"),
        saved(halves(), "TIFF"),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        bomb(0, 5),
        bomb(8_000, 8_000),
        bomb(12_000, 12_000),
        bomb(60_000, 60_000),
        bytes(MAX_PICTURE_BYTES + 1),
    ],
)
def test_what_is_no_picture_or_a_bomb_is_refused_in_plain_words(data: bytes) -> None:
    with pytest.raises(BadPicture, match=r"^The cover ") as caught:
        read_picture(data)
    assert "PIL" not in caught.value.detail


def test_it_fills_a_frame_from_its_middle() -> None:
    filled = fill_frame(np.asarray(halves(400, 100)), FrameSize(100, 100))
    assert filled.shape == (100, 100, 3)
    assert filled[50, 10].tolist() == [250, 0, 0]
    assert filled[50, 90].tolist() == [0, 0, 250]


def test_a_cover_for_tags_is_a_jpeg_of_bounded_size_and_always_the_same() -> None:
    picture = np.asarray(halves(3000, 1500))
    data = cover_jpeg(picture)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("JPEG", (1200, 600))
    assert cover_jpeg(picture) == data
