"""How much an upload may ask of its decoder, and how much audio it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deployments.audio.decode.errors import BadAudio, BadAudioCode
from deployments.audio.samples import SoundFormat
from deployments.audio.wav import BYTES_PER_SAMPLE, HEADER_BYTES


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """`timeout_s` is wall time and CPU time; `memory_bytes` is address space (the interpreter and its libraries
    take about 200 MiB of it)."""

    timeout_s: float
    memory_bytes: int
    max_duration_s: float
    min_duration_s: float
    max_channels: int
    min_rate_hz: int
    max_rate_hz: int

    @property
    def output_bytes(self) -> int:
        """The largest file that a decode within these limits writes."""
        samples = math.ceil(self.max_duration_s * self.max_rate_hz)
        return HEADER_BYTES + samples * self.max_channels * BYTES_PER_SAMPLE

    def check(self, sound: SoundFormat) -> None:
        """Raises BadAudio for a rate or a number of channels that is not taken."""
        if sound.channels > self.max_channels:
            raise BadAudio(
                BadAudioCode.CHANNELS,
                f"the file has {sound.channels} channels; at most {self.max_channels} are taken",
            )
        if not self.min_rate_hz <= sound.rate_hz <= self.max_rate_hz:
            allowed = f"{self.min_rate_hz} to {self.max_rate_hz} Hz are taken"
            raise BadAudio(BadAudioCode.RATE, f"the file's sample rate is {sound.rate_hz} Hz; {allowed}")

    def too_long(self) -> BadAudio:
        return BadAudio(BadAudioCode.TOO_LONG, f"the file is longer than {self.max_duration_s:g} s")

    def too_slow(self) -> BadAudio:
        return BadAudio(BadAudioCode.TIMEOUT, f"the file could not be decoded in {self.timeout_s:g} s")

    def too_much_memory(self) -> BadAudio:
        mebibytes = self.memory_bytes // 2**20
        return BadAudio(BadAudioCode.MEMORY, f"the file could not be decoded in {mebibytes} MiB of memory")
