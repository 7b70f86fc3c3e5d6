"""Which container a file is, by its content alone: names and declared types of uploads are not believed."""

from __future__ import annotations

from enum import StrEnum
from typing import BinaryIO

from deployments.audio.decode.mp3_frames import FrameHeader, skip_id3v2

_HEAD_BYTES = 4096


class Container(StrEnum):
    """The formats that are read."""

    WAV = "wav"
    MP3 = "mp3"
    FLAC = "flac"
    OGG = "ogg"
    M4A = "m4a"
    AIFF = "aiff"

    @property
    def demuxer(self) -> str:
        """What libavformat calls it."""
        return "mov" if self is Container.M4A else self.value

    @property
    def media_type(self) -> str:
        return {"mp3": "audio/mpeg", "m4a": "audio/mp4"}.get(self.value, f"audio/{self.value}")


_OGG_CODECS = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC")
_MP4_BRANDS = frozenset(
    b"M4A ,M4B ,M4P ,mp41,mp42,avc1,dash,isom,iso2,iso3,iso4,iso5,iso6,iso7,iso8,iso9".split(b","),
)


def sniff(file: BinaryIO) -> Container | None:
    """The container of a seekable binary file, which is left at an unspecified position; None for what is not
    read here (text, playlists, other media).

    An ID3v2 tag in front is skipped, for MP3 often and FLAC sometimes has one.
    """
    start = skip_id3v2(file)
    file.seek(start)
    head = file.read(_HEAD_BYTES)
    if head.startswith(b"fLaC"):
        return Container.FLAC
    if _is_mp3(head):
        return Container.MP3
    if start:
        return None
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return Container.WAV
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return Container.AIFF
    if head[4:8] == b"ftyp" and head[8:12] in _MP4_BRANDS:
        return Container.M4A
    if _is_ogg_audio(head):
        return Container.OGG
    return None


def _is_ogg_audio(head: bytes) -> bool:
    """A first page whose packet opens one of the codecs: after 27 bytes and one for each segment."""
    return head[:5] == b"OggS\0" and len(head) > 27 and head[27 + head[26] :].startswith(_OGG_CODECS)


def _is_mp3(head: bytes) -> bool:
    """A layer III frame, and another where it ends (unless the file or what was read of it ends there)."""
    first = FrameHeader.parse(head)
    if first is None:
        return False
    rest = head[first.frame_bytes :]
    return len(rest) < FrameHeader.BYTES or FrameHeader.parse(rest) is not None
