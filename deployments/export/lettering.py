"""One line of text as a picture, in Noto Sans: Latin, Greek, Cyrillic and Devanagari letters."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import ImageFont

MAX_TITLE_CHARS = 200

Coverage = npt.NDArray[np.float32]
"""[height, width], 0..1: how much of each pixel is ink."""

_ELLIPSIS = "…"
_LEAST_PX = 8
_SPELLED = {"♭": "b", "♯": "#", "\u00a0": " "}
_NOWHERE = "\U0010ffff"
"""No font has it, so its picture is that of a missing letter."""


def letter(text: str, height_px: int, max_width_px: int) -> Coverage:
    """The text, `height_px` high from the top of its highest letters to the bottom of its lowest, and at most
    `max_width_px` wide: set smaller down to three fifths, then cut with an ellipsis.

    Runs of spaces and line breaks become one space. A letter that the font lacks is set without its accents, or
    left out. Nothing that can be set gives a picture without columns.
    """
    from PIL import Image, ImageDraw

    wanted_px = max(_LEAST_PX, height_px)
    shown = _settable(" ".join(text[:MAX_TITLE_CHARS].split()))
    if not shown:
        return np.zeros((wanted_px, 0), np.float32)
    least_px = max(_LEAST_PX, wanted_px * 3 // 5)
    size_px = wanted_px
    while size_px > least_px and _width(shown, size_px) > max_width_px:
        size_px = max(least_px, size_px - 2)
    shown = _cut(shown, size_px, max_width_px)
    width = max(1, min(max_width_px, round(_width(shown, size_px)) + 1))
    image = Image.new("L", (width, wanted_px), 0)
    ImageDraw.Draw(image).text((0, wanted_px / 2), shown, fill=255, font=_font(size_px), anchor="lm")
    return np.asarray(image, np.float32) / np.float32(255.0)


def _cut(text: str, size_px: int, max_width_px: int) -> str:
    if _width(text, size_px) <= max_width_px:
        return text
    kept = text
    while kept and _width(kept.rstrip() + _ELLIPSIS, size_px) > max_width_px:
        kept = kept[:-1]
    return kept.rstrip() + _ELLIPSIS


def _settable(text: str) -> str:
    return " ".join("".join(_letter_or_less(character) for character in text).split())


@lru_cache(maxsize=4096)
def _letter_or_less(character: str) -> str:
    """The character, what stands for it, its base letter, or nothing."""
    spelled = _SPELLED.get(character, character)
    if _has(spelled):
        return spelled
    return "".join(part for part in unicodedata.normalize("NFKD", spelled) if _has(part))


def _has(character: str) -> bool:
    if character == " ":
        return True
    if unicodedata.category(character[0]) in ("Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me"):
        return False
    font: Any = _font(32)
    return bytes(font.getmask(character)) not in (b"", bytes(font.getmask(_NOWHERE)))


def _width(text: str, size_px: int) -> float:
    return _font(size_px).getlength(text)


@lru_cache(maxsize=64)
def _font(height_px: int) -> ImageFont.FreeTypeFont:
    """Ascenders and descenders together are `height_px`."""
    import fontpkg_noto_sans
    from PIL import ImageFont

    path = fontpkg_noto_sans.ROOT / "files" / "NotoSans[wdth,wght].ttf"
    # A line of Noto Sans is 1.362 times its nominal size. Basic layout: the same with and without libraqm.
    return ImageFont.truetype(path, max(1, round(height_px / 1.362)), layout_engine=ImageFont.Layout.BASIC)
