"""WAVEFORMATEX and WAVEFORMATEXTENSIBLE, as WAV and Wave64 have them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from deployments.audio.decode.completeness import SLACK_S, damaged
from deployments.audio.decode.containers.layout import Layout, PcmCoding, PcmLayout, Span

ByteOrder = Literal["<", ">"]

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_GUID_TAILS = (
    bytes.fromhex("800000aa00389b71"),  # KSDATAFORMAT_SUBTYPE_*: the tag, then this
    bytes.fromhex("8644c8c1ca000000"),  # the same in ambisonic B-format
)
_INTEGER_WIDTHS = (1, 2, 3, 4, 8)
_FLOAT_WIDTHS = (4, 8)
_USUAL_RATES_HZ = frozenset(
    (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000, 176400, 192000)
)
_UNKNOWN_TAG = 0


@dataclass(frozen=True, slots=True)
class WaveFormat:
    """`tag` is the real one where the format is EXTENSIBLE; 0 where its GUID stands for no tag."""

    tag: int
    channels: int
    rate_hz: int
    block_bytes: int
    bits: int
    is_cool_edit_float: bool
    samples_per_block: int
    byte_order: ByteOrder

    @staticmethod
    def parse(data: bytes, order: ByteOrder) -> WaveFormat:
        """Raises BadAudio (corrupt) for what contradicts itself."""
        if len(data) < 16:
            raise damaged("its header is too short")
        tag, channels, rate_hz, byte_rate, block_bytes, bits = struct.unpack_from(f"{order}HHIIHH", data)
        if not channels or not rate_hz or not block_bytes:
            raise damaged("its header names no channels, no sample rate or no size of a sample")
        is_pcm = tag in (_PCM, _FLOAT, _EXTENSIBLE)
        if is_pcm and rate_hz not in _USUAL_RATES_HZ and byte_rate // block_bytes in _USUAL_RATES_HZ:
            raise damaged("its header gives two sample rates")
        extra = data[18:]
        is_extensible = tag == _EXTENSIBLE
        if is_extensible:
            if len(extra) < 22:
                raise damaged("its header is too short")
            (tag,) = struct.unpack_from(f"{order}I", extra, 6)
            if extra[14:22] not in _GUID_TAILS or tag > 0xFFFF:
                tag = _UNKNOWN_TAG
        may_be_float = tag == _PCM and bits in (24, 32) and block_bytes == 4 * channels
        (first_extra,) = struct.unpack_from(f"{order}H", extra.ljust(2, b"\0"))
        return WaveFormat(
            tag=tag,
            channels=channels,
            rate_hz=rate_hz,
            block_bytes=block_bytes,
            bits=bits,
            is_cool_edit_float=may_be_float and not is_extensible and len(extra) == 2 and first_extra == 1,
            samples_per_block=first_extra,
            byte_order=order,
        )

    def slack_bytes(self, header_bytes: int) -> int:
        """How much audio may be missing: no more than a header that was counted as audio, and than `SLACK_S`."""
        frames_per_block = 1 if self._is_pcm else max(1, self.samples_per_block)
        blocks = int(SLACK_S * self.rate_hz / frames_per_block)
        return min(max(header_bytes, 44), blocks * self.block_bytes)

    def layout(self, start: int, end: int, file_end: int, fact_samples: int) -> Layout:
        """Of a file that ends at `file_end`, with its audio at `start` to `end`. `fact_samples`: the length that
        its fact chunk names, or 0.

        Raises BadAudio (corrupt) where the size of a sample contradicts its block's.
        """
        if self.tag in (_PCM, _FLOAT):
            return Layout(pcm=self._pcm_layout(start, end))
        if self.tag in (_ALAW, _MULAW) and self.block_bytes != self.channels:
            raise damaged("its header contradicts itself about the size of a sample")
        whole = Layout(parts=(Span(0, file_end),))
        if self.tag in (_ALAW, _MULAW) or not fact_samples:
            return whole
        capacity = -(-(end - start) // self.block_bytes) * self.samples_per_block
        is_plausible = capacity - self.samples_per_block < fact_samples <= capacity
        return Layout(parts=whole.parts, exact_samples=fact_samples if is_plausible else None)

    @property
    def _is_pcm(self) -> bool:
        return self.tag in (_PCM, _FLOAT, _ALAW, _MULAW)

    def _pcm_layout(self, start: int, end: int) -> PcmLayout:
        width_bytes, remainder = divmod(self.block_bytes, self.channels)
        least_bytes = -(-self.bits // 8)
        is_float = self.tag == _FLOAT or self.is_cool_edit_float
        if remainder or not self._is_possible(width_bytes, least_bytes, is_float):
            raise damaged("its header contradicts itself about the size of a sample")
        coding = PcmCoding.SIGNED
        if is_float:
            coding = PcmCoding.FLOAT
        elif width_bytes == 1:
            coding = PcmCoding.UNSIGNED
        return PcmLayout(
            span=Span(start, end),
            rate_hz=self.rate_hz,
            channels=self.channels,
            width_bytes=width_bytes,
            coding=coding,
            byte_order=self.byte_order,
            full_scale={32: 2.0**15, 24: 2.0**23}[self.bits] if self.is_cool_edit_float else 1.0,
        )

    def _is_possible(self, width_bytes: int, least_bytes: int, is_float: bool) -> bool:
        """Bits are the container's where the format is EXTENSIBLE. Elsewhere a sample may lie in a wider one, as
        24 bits in 32 often do."""
        if is_float:
            is_as_wide = self.bits == 8 * width_bytes or self.is_cool_edit_float
            return width_bytes in _FLOAT_WIDTHS and is_as_wide
        if width_bytes not in _INTEGER_WIDTHS or not 0 < least_bytes <= width_bytes:
            return False
        return least_bytes == width_bytes or (width_bytes == 4 and least_bytes == 3)
