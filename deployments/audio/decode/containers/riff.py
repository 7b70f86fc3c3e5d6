"""WAV in all its forms: RIFF, RIFX (big-endian), RF64 and BW64 (sizes of 64 bits).

Sources: Microsoft, "Multiple Channel Audio Data and WAVE Files"; EBU Tech 3306 (RF64); ITU-R BS.2088 (BW64).
"""

from __future__ import annotations

from typing import BinaryIO, Literal

from deployments.audio.decode.completeness import (
    STREAMED_FROM,
    Part,
    ReadPart,
    check_announced,
    check_tail,
    parts_from,
    size_of,
    truncated,
)
from deployments.audio.decode.containers.layout import Layout
from deployments.audio.decode.containers.wave_format import ByteOrder, WaveFormat

_LITTLE, _WIDE, _BIG = b"RIFF", (b"RF64", b"BW64"), b"RIFX"
_FIRST_CHUNK = 12
_KNOWN = frozenset(
    b"LIST,id3 ,ID3 ,bext,iXML,axml,chna,cue ,smpl,inst,acid,plst,PEAK,fact,JUNK,junk,PAD ,FLLR,cart,afsp,_PMX,"
    b"umid,minf,elm1,regn,ovwf,strc,DISP,levl,note,labl,ltxt,link".split(b",")
)


def matches(head: bytes) -> bool:
    return head[:4] in (_LITTLE, _BIG, *_WIDE) and head[8:12] == b"WAVE"


def examine(file: BinaryIO) -> Layout:
    """Raises BadAudio for a file that is cut off, or whose header contradicts itself or the file."""
    file_bytes = size_of(file)
    file.seek(0)
    head = file.read(_FIRST_CHUNK)
    order: ByteOrder = ">" if head[:4] == _BIG else "<"
    read_part = _reader(order)
    is_whole = int.from_bytes(head[4:8], _name(order)) + 8 == file_bytes
    sound: WaveFormat | None = None
    fact_samples, wide_bytes = 0, None
    for chunk in parts_from(file, _FIRST_CHUNK, read_part, align=2):
        file.seek(chunk.start)
        match chunk.name:
            case b"fmt ":
                sound = WaveFormat.parse(file.read(min(chunk.size, 1024)), order)
            case b"fact":
                fact_samples = int.from_bytes(file.read(4), _name(order))
            case b"ds64":
                wide_bytes = int.from_bytes(file.read(16)[8:], "little")
            case b"data" if sound is not None:
                data = _audio(chunk, wide_bytes, file_bytes, is_whole)
                check_announced(data, file_bytes, sound.slack_bytes(chunk.start))
                end = (
                    check_tail(file, data.end, read_part, 2, _KNOWN) if data.end < file_bytes else file_bytes
                )
                return sound.layout(data.start, min(data.end, file_bytes), end, fact_samples)
            case b"data":
                raise truncated("it says nothing about its audio")
            case _ if not chunk.name.isascii():
                break
    raise truncated("it ends before its audio begins")


def _audio(chunk: Part, wide_bytes: int | None, file_bytes: int, is_whole: bool) -> Part:
    """The audio with its real size. A size that was never filled in means: up to the end of the file."""
    if wide_bytes is not None and chunk.size == 0xFFFF_FFFF:
        return Part(chunk.name, chunk.start, wide_bytes)
    if chunk.size >= STREAMED_FROM or (chunk.size == 0 and not is_whole):
        return Part(chunk.name, chunk.start, file_bytes - chunk.start)
    return chunk


def _reader(order: ByteOrder) -> ReadPart:
    def read_part(file: BinaryIO, offset: int) -> Part | None:
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8:
            return None
        return Part(head[:4], offset + 8, int.from_bytes(head[4:], _name(order)))

    return read_part


def _name(order: ByteOrder) -> Literal["little", "big"]:
    return "little" if order == "<" else "big"
