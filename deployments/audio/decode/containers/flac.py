"""FLAC (RFC 9639): its header says how long it is, and what the MD5 of its samples is."""

from __future__ import annotations

from typing import BinaryIO

from deployments.audio.decode.completeness import damaged, size_of, truncated
from deployments.audio.decode.containers.layout import FlacMd5, Layout, Span
from deployments.audio.decode.tags import skip_id3v2

_MAGIC = b"fLaC"
_BLOCK_HEADER_BYTES = 4
_STREAMINFO_BYTES = 34


def matches(head: bytes) -> bool:
    return head.startswith(_MAGIC)


def examine(file: BinaryIO) -> Layout:
    """Every frame has a CRC, which the decoder checks; the length and the MD5 are for it to compare.

    Raises BadAudio.
    """
    file_bytes = size_of(file)
    start = skip_id3v2(file)
    file.seek(start)
    head = file.read(len(_MAGIC) + _BLOCK_HEADER_BYTES + _STREAMINFO_BYTES)
    info = head[len(_MAGIC) + _BLOCK_HEADER_BYTES :]
    if len(info) < _STREAMINFO_BYTES:
        raise truncated("it ends before its audio begins")
    if head[4] & 0x7F or int.from_bytes(head[5:8], "big") != _STREAMINFO_BYTES:
        raise damaged("its header is not the first of its parts")
    packed = int.from_bytes(
        info[10:18], "big"
    )  # 20 bits rate, 3 channels - 1, 5 bits per sample - 1, 36 samples
    digest = info[18:34]
    return Layout(
        parts=(Span(start, file_bytes),),
        least_samples=packed & (1 << 36) - 1 or None,
        md5=FlacMd5(digest, (packed >> 36 & 0x1F) + 1) if any(digest) else None,
    )
