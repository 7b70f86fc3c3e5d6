"""Where the parts of a file begin, as players list and skip them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from deployments.export.wav_chunks import Marker

MAX_CHAPTERS = 255
"""ID3 and MP4 count them in one byte."""

_SPECIAL = re.compile(r"[=;#\\]")


class ChapterPlace(StrEnum):
    """LIST: what the container has for chapters; COMMENTS: `CHAPTER001`, `CHAPTER001NAME` and so on."""

    NONE = "none"
    LIST = "list"
    COMMENTS = "comments"


def write_chapters(
    place: ChapterPlace, markers: Sequence[Marker], samples: int, rate_hz: int, folder: Path
) -> Path | None:
    """The chapters of a file of `samples` per channel as a file for `encode_arguments`: one from each marker to the
    next. Of more than MAX_CHAPTERS markers every second is kept, or every third and so on. None where there is
    nothing to skip to. Raises OSError."""
    kept = markers[:: max(1, -(-len(markers) // MAX_CHAPTERS))]
    if place is ChapterPlace.NONE or len(kept) < 2:
        return None
    lines = [";FFMETADATA1"]
    if place is ChapterPlace.COMMENTS:  # as a list, ffmpeg rounds their seconds to the nearest one
        for number, marker in enumerate(kept, start=1):
            name = f"CHAPTER{number:03d}"
            lines += [f"{name}={_clock(marker.at, rate_hz)}", f"{name}NAME={_title(marker.name)}"]
    else:
        ends = [*(marker.at for marker in kept[1:]), samples]
        for marker, end in zip(kept, ends, strict=True):
            lines += ["[CHAPTER]", f"TIMEBASE=1/{rate_hz}", f"START={marker.at}", f"END={end}"]
            lines.append(f"title={_title(marker.name)}")
    path = folder / "chapters.ffmetadata"
    path.write_text("\n".join((*lines, "")), encoding="utf-8")
    return path


def _title(name: str) -> str:
    """ffmpeg takes a line that ends with a backslash as going on in the next, though it be escaped."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(name.split()).rstrip("\\ "))


def _clock(at: int, rate_hz: int) -> str:
    """`hh:mm:ss.mmm`."""
    milliseconds = at * 1000 // rate_hz
    seconds = milliseconds // 1000
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds % 1000:03d}"
