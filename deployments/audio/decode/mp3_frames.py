"""The frames of an MPEG layer III stream, as far as their headers tell: enough to know it and to count them.

Sources: ISO/IEC 11172-3 and 13818-3; id3.org (ID3v2 header); the Xing, LAME and VBRI headers as encoders
write them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, ClassVar

_KBPS_MPEG1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_MPEG2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_LAYER_III = 1
_ID3V2_HEADER_BYTES = 10
_MAX_TAGS = 8


@dataclass(frozen=True, slots=True)
class FrameHeader:
    BYTES: ClassVar[int] = 4

    frame_bytes: int
    info_offset: int
    """Where a Xing or Info header would stand in the frame: after the side information."""

    @staticmethod
    def parse(data: bytes, offset: int = 0) -> FrameHeader | None:
        """The header at `offset`, or None if no frame of layer III (with a declared bit rate) begins there."""
        head = data[offset : offset + FrameHeader.BYTES]
        if len(head) < FrameHeader.BYTES or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
            return None
        version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
        bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
        if version not in _RATES_HZ or layer != _LAYER_III or bitrate in (0, 15) or rate == 3:
            return None
        mpeg1, mono = version == 3, head[3] >> 6 == 3
        kbps = (_KBPS_MPEG1 if mpeg1 else _KBPS_MPEG2)[bitrate - 1]
        frame_bytes = (144_000 if mpeg1 else 72_000) * kbps // _RATES_HZ[version][rate] + padding
        side_bytes = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}[mpeg1, mono]
        return FrameHeader(frame_bytes, FrameHeader.BYTES + side_bytes)


def skip_id3v2(file: BinaryIO) -> int:
    """The offset after the ID3v2 tags at the start of the file, and after the zeros that pad them."""
    offset = 0
    for _ in range(_MAX_TAGS):
        file.seek(offset)
        head = file.read(_ID3V2_HEADER_BYTES)
        if len(head) < _ID3V2_HEADER_BYTES or head[:3] != b"ID3" or any(byte & 0x80 for byte in head[6:]):
            break
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        offset += _ID3V2_HEADER_BYTES * (2 if head[5] & 0x10 else 1) + size
    if offset:
        file.seek(offset)
        padded = file.read(4096)
        offset += len(padded) - len(padded.lstrip(b"\0"))
    return offset


@dataclass(frozen=True, slots=True)
class FrameCount:
    """`declared`: what the Xing, Info or VBRI header says, if there is one (it does not count itself).
    `missing_bytes`: what the last frame lacks."""

    whole: int
    declared: int | None
    missing_bytes: int


def count_frames(file: BinaryIO) -> FrameCount:
    """Count from the first frame to the end of the unbroken run of frames.

    Tags after the last frame (ID3v1, APE, lyrics) end the run, as does anything else that is no frame.
    """
    file.seek(skip_id3v2(file))
    data = file.read()
    whole, end, declared = 0, 0, None
    for offset, header in _frames(data):
        if not whole:
            declared = _declared_frames(data[offset : offset + header.frame_bytes], header)
        end = offset + header.frame_bytes
        whole += end <= len(data)
    return FrameCount(max(0, whole - (declared is not None)), declared, max(0, end - len(data)))


def _frames(data: bytes) -> Iterator[tuple[int, FrameHeader]]:
    offset = 0
    while (header := FrameHeader.parse(data, offset)) is not None:
        yield offset, header
        offset += header.frame_bytes


def _declared_frames(frame: bytes, header: FrameHeader) -> int | None:
    xing = frame[header.info_offset : header.info_offset + 12]
    if xing[:4] in (b"Xing", b"Info") and len(xing) == 12 and xing[7] & 1:
        return int.from_bytes(xing[8:12], "big")
    vbri = frame[36:54]
    if vbri[:4] == b"VBRI" and len(vbri) == 18:
        return int.from_bytes(vbri[14:18], "big")
    return None
