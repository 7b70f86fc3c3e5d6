"""What a WAV says besides its samples: broadcast information, markers, loop facts, iXML; and files past 4 GiB.

Chunks are appended after the audio, which stays as it is. `bext`: EBU Tech 3285; RF64: EBU Tech 3306.
"""

from __future__ import annotations

import os
import struct
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

from deployments.export.media_errors import WrongValue

MAX_MARKERS = 9_999
RIFF_LIMIT = 2**32 - 1
_DS64_BYTES = 28
_HUNDREDTHS_UNKNOWN = 0x7FFF

Chunk = tuple[bytes, bytes]
"""A chunk's four letters and its content."""


@dataclass(frozen=True, slots=True)
class Marker:
    """`at` is a sample of the file."""

    at: int
    name: str


@dataclass(frozen=True, slots=True)
class Broadcast:
    """`time_reference_samples`: where the file begins on the timeline. `date`: yyyy-mm-dd, `time`: hh:mm:ss.

    Text is written in ASCII, accents dropped, and cut to its field.
    """

    description: str = ""
    originator: str = "Segue"
    originator_reference: str = ""
    date: str = ""
    time: str = ""
    time_reference_samples: int = 0
    loudness_lufs: float | None = None
    true_peak_dbtp: float | None = None
    coding_history: str = ""


def bext_chunk(said: Broadcast) -> Chunk:
    hundredths = [
        _HUNDREDTHS_UNKNOWN if value is None else round(100 * value)
        for value in (said.loudness_lufs, None, said.true_peak_dbtp, None, None)
    ]
    fields = [
        _ascii(text, size)
        for text, size in (
            (said.description, 256),
            (said.originator, 32),
            (said.originator_reference, 32),
            (said.date, 10),
            (said.time, 8),
        )
    ]
    body = struct.pack("<256s32s32s10s8sQH64x", *fields, said.time_reference_samples, 2)
    history = ascii_text(said.coding_history).encode()
    return b"bext", body + struct.pack("<5h180x", *hundredths) + history


def marker_chunks(markers: Sequence[Marker]) -> list[Chunk]:
    """`cue ` and the names of its points. Raises WrongValue for too many, and for one that no WAV can mark."""
    if not markers:
        return []
    if len(markers) > MAX_MARKERS:
        raise WrongValue(f"A file holds at most {MAX_MARKERS} markers, not {len(markers)}.")
    if not all(0 <= marker.at <= RIFF_LIMIT for marker in markers):
        raise WrongValue("A marker lies outside of what a WAV can mark.")
    ordered = sorted(markers, key=lambda marker: marker.at)
    points = b"".join(
        struct.pack("<II4sIII", number, marker.at, b"data", 0, 0, marker.at)
        for number, marker in enumerate(ordered, start=1)
    )
    labels = b"".join(
        _packed((b"labl", struct.pack("<I", number) + _ascii(marker.name, 255) + b"\0"))
        for number, marker in enumerate(ordered, start=1)
    )
    return [(b"cue ", struct.pack("<I", len(ordered)) + points), (b"LIST", b"adtl" + labels)]


def acid_chunk(bpm: float, beats: int, meter: tuple[int, int] = (4, 4), *, one_shot: bool = False) -> Chunk:
    """Tempo and length in beats, as loop browsers read them."""
    flags = 1 if one_shot else 0
    return b"acid", struct.pack("<IHHfIHHf", flags, 60, 0x8000, 0.0, beats, meter[1], meter[0], bpm)


def ixml_chunk(fields: dict[str, str]) -> Chunk:
    """`PROJECT`, `NOTE` and the like, in UTF-8. Raises WrongValue for a name that is none in XML."""
    root = ElementTree.Element("BWFXML")
    ElementTree.SubElement(root, "IXML_VERSION").text = "3.01"
    for name, text in fields.items():
        if not (name.isascii() and name.replace("_", "").isalnum() and name[0].isalpha()):
            raise WrongValue(f"{name[:40]!r} is no name of an iXML field.")
        ElementTree.SubElement(root, name).text = "".join(c for c in text if c >= " " or c in "\n\t")
    return b"iXML", ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def append_chunks(path: Path, chunks: Iterable[Chunk]) -> None:
    """Add chunks to the end of a WAV or RF64 file; nothing before them changes but the file's size.

    A WAV that grows past 4 GiB becomes RF64, for which its writer left room (a JUNK chunk first, as ffmpeg's
    `-rf64 auto` writes). Raises WrongValue for other files, and where there is no such room.
    """
    added = b"".join(map(_packed, chunks))
    if not added:
        return
    with path.open("r+b") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            raise WrongValue("The file is not a WAV.")
        first = file.read(8)
        data_bytes, samples = _data_size(file, rf64=head[:4] == b"RF64")
        end = file.seek(0, os.SEEK_END)
        if end % 2:
            file.write(b"\0")
        file.write(added)
        size = file.tell() - 8
        if head[:4] == b"RIFF" and size <= RIFF_LIMIT:
            file.seek(4)
            file.write(struct.pack("<I", size))
            return
        room = first[:4] in (b"JUNK", b"ds64") and struct.unpack("<I", first[4:])[0] >= _DS64_BYTES
        if not room:
            file.truncate(end)
            raise WrongValue("The file is past 4 GiB and has no room to say so.")
        file.seek(0)
        file.write(struct.pack("<4sI4s4s", b"RF64", RIFF_LIMIT, b"WAVE", b"ds64"))
        file.seek(20)
        file.write(struct.pack("<QQQI", size, data_bytes, samples, 0))
        if head[:4] == b"RIFF":
            file.seek(_chunk_start(file, b"data") + 4)
            file.write(struct.pack("<I", RIFF_LIMIT))


def _data_size(file: BinaryIO, *, rf64: bool) -> tuple[int, int]:
    """The bytes of audio, and its samples per channel."""
    if rf64:
        file.seek(20)
        _, data_bytes, samples = struct.unpack("<QQQ", file.read(24))
        return data_bytes, samples
    file.seek(_chunk_start(file, b"fmt ") + 20)
    (frame_bytes,) = struct.unpack("<H", file.read(2))
    file.seek(_chunk_start(file, b"data") + 4)
    (data_bytes,) = struct.unpack("<I", file.read(4))
    return data_bytes, data_bytes // max(1, frame_bytes)


def _chunk_start(file: BinaryIO, wanted: bytes) -> int:
    """Where a chunk begins that stands before the audio or is it."""
    position = 12
    while True:
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            raise WrongValue("The file is not a whole WAV.")
        if header[:4] == wanted:
            return position
        size = struct.unpack("<I", header[4:])[0]
        position += 8 + size + size % 2


def ascii_text(text: str) -> str:
    """Letters without accents; what is no ASCII then becomes `_`. These fields have no charset of their own."""
    plain = unicodedata.normalize("NFKD", text)
    kept = (c for c in plain if not unicodedata.combining(c) and (c >= " " or c in "\r\n") and c != "\x7f")
    return "".join(c if c.isascii() else "_" for c in kept)


def _ascii(text: str, size: int) -> bytes:
    return ascii_text(text).encode()[:size]


def _packed(chunk: Chunk) -> bytes:
    name, content = chunk
    return struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)
