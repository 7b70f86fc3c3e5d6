"""Cover pictures as they come in requests: data: URLs, read within limits and made fit for a file."""

from __future__ import annotations

import base64
import binascii
import re

from deployments.export.media_errors import BadPicture
from deployments.export.picture import BACKDROP_SIDE, COVER_SIDE, MAX_PICTURE_BYTES, cover_jpeg, read_picture

MAX_URL_CHARS = MAX_PICTURE_BYTES * 4 // 3 + 200

_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+(?:;[a-z0-9=.+-]+)*;base64,", re.IGNORECASE)


def cover_of(url: str, *, fills_video: bool) -> bytes:
    """The picture as a JPEG: at most 1200 pixels on its longest side for tags, 1920 for a video.

    The same picture gives the same bytes. Raises BadPicture for what is no data: URL of a picture, for one that is
    damaged, and for one that is too large, before it is decoded.
    """
    head = _DATA_URL.match(url[:200])
    if head is None:
        raise BadPicture("The cover must be a data: URL of a picture, as data:image/png;base64,…")
    if len(url) > MAX_URL_CHARS:
        raise BadPicture(f"The cover is larger than {MAX_PICTURE_BYTES // 2**20} MB.")
    try:
        data = base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPicture("The cover's data: URL is damaged: it is not valid base64.") from error
    side = BACKDROP_SIDE if fills_video else COVER_SIDE
    return cover_jpeg(read_picture(data, side), side)
