"""Cover pictures that somebody sends: read within limits, and made fit for a video or a file's tags."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from deployments.export.media_errors import BadPicture
from deployments.export.planar import FrameSize, Picture

if TYPE_CHECKING:
    from PIL import Image

MAX_PICTURE_BYTES = 10 * 2**20
MAX_PICTURE_PIXELS = 40_000_000
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP")
COVER_SIDE = 1200
"""The longest side of a cover in tags."""
BACKDROP_SIDE = 1920
"""The longest side of a cover that fills a video."""

_JPEG_QUALITY = 90


def read_picture(data: bytes, longest_side: int | None = None) -> Picture:
    """uint8 RGB [height, width, 3] of a PNG, JPEG or WebP (the first picture of an animation), turned upright as
    its EXIF says; what is transparent is laid over black. Larger ones are scaled down to `longest_side`.

    Size and format are read from the header before a pixel is decoded. Raises BadPicture.
    """
    from PIL import Image, ImageOps  # only who has a cover pays for it

    if len(data) > MAX_PICTURE_BYTES:
        raise BadPicture(f"The cover is larger than {MAX_PICTURE_BYTES // 2**20} MB.")
    too_large = BadPicture(f"The cover has more than {MAX_PICTURE_PIXELS // 10**6} million pixels.")
    try:
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as image:
            if image.width * image.height > MAX_PICTURE_PIXELS:
                raise too_large
            if longest_side is not None:  # before all else, so that a large one is in memory once
                image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
            upright = ImageOps.exif_transpose(image).convert("RGBA")
            black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
            return np.asarray(Image.alpha_composite(black, upright).convert("RGB"))
    except BadPicture:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_large from error
    # A damaged file may raise nearly anything out of a decoder.
    except Exception as error:
        raise BadPicture("The cover is not a PNG, JPEG or WebP picture, or it is damaged.") from error


def fill_frame(picture: Picture, size: FrameSize) -> Picture:
    """Scaled so that it fills the size, its middle kept."""
    from PIL import Image, ImageOps

    fitted = ImageOps.fit(_image(picture), (size.width, size.height), Image.Resampling.LANCZOS)
    return np.asarray(fitted)


def cover_jpeg(picture: Picture, longest_side: int = COVER_SIDE) -> bytes:
    """A JPEG whose longest side is at most `longest_side`. Equal pictures give equal bytes."""
    from PIL import Image

    image = _image(picture)
    image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def jpeg_size(jpeg: bytes) -> tuple[int, int]:
    """Width and height of a JPEG that `cover_jpeg` made."""
    from PIL import Image

    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        return image.size


def _image(picture: Picture) -> Image.Image:
    from PIL import Image

    return Image.fromarray(picture)
