"""How much an upload may ask of its decoder, and how much audio it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployments.audio.decode.errors import BadAudio, BadAudioCode
from deployments.audio.samples import SoundFormat
from deployments.audio.wav import BYTES_PER_SAMPLE, HEADER_BYTES

if TYPE_CHECKING:  # pydantic would take half of the time that the decoder's own process needs to start
    from configs.settings import UploadLimits


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """`timeout_s` is wall time and CPU time; `memory_bytes` is address space (the interpreter and its libraries
    take about 200 MiB of it). `max_output_bytes` bounds the decoded samples: a few bytes of a lawful file can stand
    for seconds of them."""

    timeout_s: float
    memory_bytes: int
    max_duration_s: float
    min_duration_s: float
    max_channels: int
    min_rate_hz: int
    max_rate_hz: int
    max_output_bytes: int

    @staticmethod
    def of(
        uploads: UploadLimits,
        *,
        max_duration_s: float | None = None,
        max_output_bytes: int | None = None,
        timeout_s: float | None = None,
    ) -> DecodeLimits:
        """Those of uploads, but for what is given."""
        return DecodeLimits(
            timeout_s=timeout_s or uploads.decode_timeout_s,
            memory_bytes=uploads.decode_memory_bytes,
            max_duration_s=max_duration_s or uploads.max_duration_s,
            min_duration_s=uploads.min_duration_s,
            max_channels=uploads.max_channels,
            min_rate_hz=uploads.min_rate_hz,
            max_rate_hz=uploads.max_rate_hz,
            max_output_bytes=max_output_bytes or uploads.max_decoded_bytes,
        )

    @property
    def output_bytes(self) -> int:
        """The largest file that a decode within these limits writes."""
        samples = math.ceil(self.max_duration_s * self.max_rate_hz)
        longest = HEADER_BYTES + samples * self.max_channels * BYTES_PER_SAMPLE
        return min(longest, HEADER_BYTES + self.max_output_bytes)

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

    def most_samples(self, sound: SoundFormat) -> int:
        """The longest that a file in this format may be, in samples of each channel."""
        in_bytes = self.max_output_bytes // (sound.channels * BYTES_PER_SAMPLE)
        return min(math.floor(self.max_duration_s * sound.rate_hz), in_bytes)

    def too_large(self, sound: SoundFormat) -> BadAudio:
        """For a file that has more samples than `most_samples`."""
        longest_s = self.most_samples(sound) / sound.rate_hz
        if longest_s >= self.max_duration_s - 1:
            return self.too_long()
        return BadAudio(
            BadAudioCode.TOO_LONG,
            f"the file is too long for its sample rate: at {sound.rate_hz} Hz and {sound.channels} channels, "
            f"{longest_s:.0f} s are taken",
        )

    def too_long(self) -> BadAudio:
        return BadAudio(BadAudioCode.TOO_LONG, f"the file is longer than {self.max_duration_s:g} s")

    def too_slow(self) -> BadAudio:
        return BadAudio(BadAudioCode.TIMEOUT, f"the file could not be decoded in {self.timeout_s:g} s")

    def too_much_memory(self) -> BadAudio:
        mebibytes = self.memory_bytes // 2**20
        return BadAudio(BadAudioCode.MEMORY, f"the file could not be decoded in {mebibytes} MiB of memory")
