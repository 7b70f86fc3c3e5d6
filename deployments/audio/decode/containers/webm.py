"""WebM and Matroska, as browsers record them. Sources: RFC 8794 (EBML), RFC 9559 (Matroska).

A recorder that writes while it records knows neither the length of the file nor of its clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from deployments.audio.decode.completeness import damaged, is_tag_or_padding, size_of, truncated
from deployments.audio.decode.containers.layout import Layout, Span

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_TRACKS, _TRACK_ENTRY, _TRACK_NUMBER = 0x1654AE6B, 0xAE, 0xD7
_BLOCK_GROUP, _BLOCK, _SIMPLE_BLOCK = 0xA0, 0xA1, 0xA3
_BLOCKS = (_BLOCK, _SIMPLE_BLOCK)
_ENTERED = (_SEGMENT, _CLUSTER, _BLOCK_GROUP)
_NUMBERS = (0xE7, 0xA7, 0xAB)  # Timestamp, Position, PrevSize
_KNOWN = frozenset(
    (
        *(_EBML, _SEGMENT, _CLUSTER, _TRACKS),
        *(
            0x114D9B74,
            0x1549A966,
            0x1C53BB6B,
            0x1941A469,
            0x1043A770,
            0x1254C367,
        ),  # SeekHead, Info, Cues, ... Tags
        *(*_NUMBERS, 0x5854, _SIMPLE_BLOCK, _BLOCK_GROUP, 0xAF),  # in a cluster
        *(_BLOCK, 0x75A1, 0x9B, 0xFA, 0xFB, 0xFD, 0xA4, 0x75A2, 0x8E),  # in a group
        *(0xEC, 0xBF),  # Void, CRC-32
    )
)
"""The elements that a segment, a cluster and a group of blocks have."""

_DOC_TYPES = (b"\x42\x82\x84webm", b"\x42\x82\x88matroska")
_HEAD_BYTES = 12


def matches(head: bytes) -> bool:
    return head.startswith(_EBML.to_bytes(4, "big")) and any(kind in head[:128] for kind in _DOC_TYPES)


def examine(file: BinaryIO) -> Layout:
    """Every element is there to its end, and every block belongs to a track. Raises BadAudio."""
    file_bytes = size_of(file)
    offset, has_audio = 0, False
    group_end = 0
    tracks: set[int] = set()
    while offset < file_bytes:
        element = _read(file, offset, file_bytes)
        if element is None or element.id not in _KNOWN:
            if has_audio and is_tag_or_padding(file, offset):
                break
            raise damaged("a part of it cannot be decoded")
        if element.end is not None and element.end > file_bytes:
            raise truncated("its last part is incomplete")
        if element.id == _TRACKS:
            tracks = _track_numbers(file, element, file_bytes)
        elif element.id in _BLOCKS:
            is_lost = element.id == _BLOCK and offset >= group_end
            if is_lost or _track_of(file, element) not in tracks:
                raise damaged("a part of it belongs to no track")
        elif element.id in _NUMBERS and element.end is not None and element.end - element.start > 8:
            raise damaged("a part of it cannot be decoded")
        elif element.id == _BLOCK_GROUP and element.end is not None:
            group_end = element.end
        has_audio = has_audio or element.id in _BLOCKS
        if element.id in _ENTERED:
            offset = element.start
        elif element.end is not None:
            offset = element.end
        else:
            raise damaged("a part of it cannot be decoded")
    if not has_audio:
        raise truncated("it ends before its audio begins")
    return Layout(parts=(Span(0, file_bytes),))


@dataclass(frozen=True, slots=True)
class _Element:
    """`end` None: the element's size is unknown."""

    id: int
    start: int
    end: int | None


def _read(file: BinaryIO, offset: int, file_bytes: int) -> _Element | None:
    """The element whose header is at an offset; None where there is none. Raises BadAudio for half a header."""
    file.seek(offset)
    head = file.read(_HEAD_BYTES)
    id_bytes = _length(head[0])
    if id_bytes > 4:
        return None
    if len(head) <= id_bytes or len(head) < id_bytes + _length(head[id_bytes]) < _HEAD_BYTES:
        raise truncated("its last part is incomplete")
    size_bytes = _length(head[id_bytes])
    if size_bytes > 8:
        return None
    unknown = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(head[id_bytes : id_bytes + size_bytes], "big") & unknown
    start = offset + id_bytes + size_bytes
    return _Element(int.from_bytes(head[:id_bytes], "big"), start, None if size == unknown else start + size)


def _track_numbers(file: BinaryIO, tracks: _Element, file_bytes: int) -> set[int]:
    return {
        int.from_bytes(_content(file, number), "big")
        for entry in _children(file, tracks, file_bytes)
        if entry.id == _TRACK_ENTRY
        for number in _children(file, entry, file_bytes)
        if number.id == _TRACK_NUMBER
    }


def _children(file: BinaryIO, parent: _Element, file_bytes: int) -> Iterator[_Element]:
    offset = parent.start
    while parent.end is not None and offset < parent.end:
        child = _read(file, offset, file_bytes)
        if child is None or child.end is None or child.end > parent.end:
            raise damaged("its header cannot be read")
        yield child
        offset = child.end


def _content(file: BinaryIO, element: _Element) -> bytes:
    file.seek(element.start)
    return file.read(_HEAD_BYTES)[: (element.end or element.start) - element.start]


def _track_of(file: BinaryIO, block: _Element) -> int:
    """A block begins with the number of its track, written as the sizes are."""
    file.seek(block.start)
    head = file.read(8)
    length = _length(head[0]) if head else 9
    return int.from_bytes(head[:length], "big") & (1 << 7 * length) - 1


def _length(first: int) -> int:
    """How many bytes a number has whose first byte this is; 9 where it is none."""
    return 9 - first.bit_length()
