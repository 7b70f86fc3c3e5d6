"""MP3: the frames of an MPEG layer III stream, as far as their headers tell: enough to know it and to count them.

Sources: ISO/IEC 11172-3 and 13818-3; the Xing, LAME and VBRI headers as encoders write them.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import BinaryIO, ClassVar

from deployments.audio.decode.completeness import empty, plural, truncated
from deployments.audio.decode.containers.frames import (
    SEARCH_BYTES,
    Data,
    Run,
    check_beginning,
    find_run,
    runs,
)
from deployments.audio.decode.containers.layout import Layout, Span
from deployments.audio.decode.tags import skip_id3v2

_KBPS_MPEG1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_MPEG2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_LAYER_III = 1
_FRAMES_SLACK = 2
"""Some writers count the frame of the header itself, or one that they never wrote."""

_BYTES_SLACK = 16
_COMMON = b"\xff\xff\x0c\xc0"
"""Of a header: sync, version, layer, protection, sample rate and channels."""


@dataclass(frozen=True, slots=True)
class FrameHeader:
    BYTES: ClassVar[int] = 4

    frame_bytes: int
    kind: tuple[int, int, bool]
    """Version, sample rate and whether there is one channel."""

    info_offset: int
    """Where a Xing or Info header would stand in the frame: after the side information."""

    @staticmethod
    def parse(data: Data, offset: int = 0) -> FrameHeader | None:
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
        return FrameHeader(frame_bytes, (version, rate, mono), FrameHeader.BYTES + side_bytes)


def matches(head: bytes) -> bool:
    """Whether a run of frames begins soon in `head`, the file's first bytes or those after a tag."""
    return find_run(head, 0, FrameHeader.parse, SEARCH_BYTES) is not None


def examine(file: BinaryIO) -> Layout:
    """A file that is made of several is decoded file by file, so that each loses its encoder's padding.

    What stands before the first frame is no audio, or the rest of a frame whose beginning is missing. Raises
    BadAudio.
    """
    start = skip_id3v2(file)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        first = find_run(data, start, FrameHeader.parse, SEARCH_BYTES)
        if first is None:
            raise empty()
        check_beginning(data, start, first, _COMMON)
        found = []
        for run in runs(
            data, first, FrameHeader.parse, _begins_file, lambda run: _begins_file(data, run.start)
        ):
            _check(run, _declared_frames(data, run.start))
            found.append(run)
    return Layout(parts=tuple(Span(run.start, run.end) for run in found if run.frames))


def _check(run: Run, declared: int | None) -> None:
    frames = run.frames - (declared is not None)  # the frame of the header does not count itself
    if declared is not None and frames < declared - _FRAMES_SLACK:
        raise truncated(
            f"it has {max(0, frames)} of the {plural(declared, 'frame')} that its header announces"
        )
    if run.missing_bytes > _BYTES_SLACK:
        raise truncated("its last frame is incomplete")


def _begins_file(data: Data, offset: int) -> bool:
    return _declared_frames(data, offset) is not None


def _declared_frames(data: Data, offset: int) -> int | None:
    """What the Xing, Info or VBRI header in the frame at `offset` says, if there is one."""
    header = FrameHeader.parse(data, offset)
    if header is None:
        return None
    frame = data[offset : offset + min(header.frame_bytes, header.info_offset + 64)]
    xing = frame[header.info_offset : header.info_offset + 12]
    if xing[:4] in (b"Xing", b"Info") and len(xing) == 12 and xing[7] & 1:
        return int.from_bytes(xing[8:12], "big")
    vbri = frame[36:54]
    if vbri[:4] == b"VBRI" and len(vbri) == 18:
        return int.from_bytes(vbri[14:18], "big")
    return None
