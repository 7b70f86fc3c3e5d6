"""The exact length of an MP3 in its header. ffmpeg notes at most 1681 samples of padding, and so for one
length in thirty leaves up to 46 samples of silence on the end."""

from __future__ import annotations

from pathlib import Path

from deployments.export.media_errors import WrongValue

_HEAD_BYTES = 1_500
_FRAMES_FLAG = 1
_LAME_FROM_XING = 120
_DELAYS_FROM_LAME = 21
_CRC_FROM_LAME = 34
_MAX_PADDING = 0xFFF


def correct_mp3_length(path: Path, samples: int) -> None:
    """Let players cut the file to `samples` per channel, the number that was encoded.

    The file is one that `encode_arguments` made. Raises WrongValue for others, and for a length that its
    frames cannot have.
    """
    with path.open("r+b") as file:
        start = _audio_start(file.read(10))
        file.seek(start)
        frame = bytearray(file.read(_HEAD_BYTES))
        xing = max(frame.find(b"Info", 0, 64), frame.find(b"Xing", 0, 64))
        if xing < 0 or len(frame) < xing + 156 or not frame[xing + 7] & _FRAMES_FLAG:
            raise WrongValue("The MP3 has no header that says its length.")
        frame_samples = 1152 if frame[1] & 0x08 else 576
        lame = xing + _LAME_FROM_XING
        delays = slice(lame + _DELAYS_FROM_LAME, lame + _DELAYS_FROM_LAME + 3)
        delay = int.from_bytes(frame[delays], "big") >> 12
        padding = int.from_bytes(frame[xing + 8 : xing + 12], "big") * frame_samples - delay - samples
        if not 0 <= padding <= _MAX_PADDING:
            raise WrongValue("The MP3 does not have the length that was encoded.")
        frame[delays] = (delay << 12 | padding).to_bytes(3, "big")
        crc = slice(lame + _CRC_FROM_LAME, lame + _CRC_FROM_LAME + 2)
        frame[crc] = _crc16(bytes(frame[: crc.start])).to_bytes(2, "big")
        file.seek(start)
        file.write(frame[: crc.stop])


def _audio_start(head: bytes) -> int:
    """Behind the ID3v2 tag, whose size counts 7 bits a byte."""
    if head[:3] != b"ID3":
        return 0
    return 10 + sum(byte << 7 * place for place, byte in enumerate(reversed(head[6:10])))


def _crc16(data: bytes) -> int:
    """CRC-16/ARC, as the LAME tag has it."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
