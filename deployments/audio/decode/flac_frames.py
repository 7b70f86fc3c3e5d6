"""Whether the frames of a FLAC are all there, where its header has no MD5: they are numbered (RFC 9639, 9.1).

A frame whose header is damaged is no frame to a demuxer, which takes it for the end of the one before.
"""

from __future__ import annotations

from deployments.audio.decode.completeness import damaged
from deployments.audio.decode.tags import is_tag

_NUMBER_AT = 4
_BY_SAMPLE = 0x01
_POLYNOMIAL = 0x8005


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ _POLYNOMIAL) & 0xFFFF if crc & 0x8000 else crc << 1
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _table()


class FlacFrames:
    """`add` every packet in order, then `finish`."""

    def __init__(self) -> None:
        self._frames = 0
        self._samples = 0
        self._last = b""

    def add(self, packet: bytes, samples: int) -> None:
        """Raises BadAudio (corrupt) if a frame is missing before this one, which holds `samples`."""
        expected = self._samples if packet[1] & _BY_SAMPLE else self._frames
        if _coded_number(packet[_NUMBER_AT : _NUMBER_AT + 7]) != expected:
            raise damaged("a part of it cannot be decoded")
        self._frames += 1
        self._samples += samples
        self._last = packet

    def finish(self) -> None:
        """Raises BadAudio (corrupt) if something follows the last frame but a tag or padding."""
        crc = 0
        for at, byte in enumerate(self._last):
            crc = (crc << 8 & 0xFFFF) ^ _CRC_TABLE[crc >> 8 ^ byte]
            if crc == 0 and is_tag(self._last[at + 1 :]):
                return
        raise damaged("its end cannot be decoded")


def _coded_number(data: bytes) -> int:
    """A number of up to 36 bits, written as UTF-8 is; -1 for anything else."""
    ones = 8 - (data[0] ^ 0xFF).bit_length()
    if ones == 0:
        return data[0]
    if not 2 <= ones <= len(data):
        return -1
    number = data[0] & (0x7F >> ones)
    for byte in data[1:ones]:
        number = number << 6 | byte & 0x3F
    return number
