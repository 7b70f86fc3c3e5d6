"""An untrusted file as the canonical WAV. Runs in the decoder's own process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from deployments.audio.decode.completeness import damaged, empty, plural
from deployments.audio.decode.errors import BadAudio, BadAudioCode
from deployments.audio.decode.formats import Container
from deployments.audio.decode.limits import DecodeLimits
from deployments.audio.decode.pcm_reader import Block, pcm_blocks
from deployments.audio.levels import decibels_of_power
from deployments.audio.samples import SoundFormat
from deployments.audio.wav import HEADER_BYTES, wav_header

MAX_PEAK_DBFS = 40.0
"""No mix in floats is louder; integers stored as floats are (+90 dBFS and more), and would be noise."""

MAX_CODED_PEAK_DBFS = 20.0
"""What codecs give goes a few dB over full scale; what is beyond was decoded wrongly."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was written; `samples` is per channel."""

    sha256: str
    size_bytes: int
    samples: int
    rate_hz: int
    channels: int
    rms_dbfs: float
    peak_dbfs: float
    codec: str


def decode_to_wav(source: Path, target: Path, container: Container, limits: DecodeLimits) -> Decoded:
    """Decode `source` into a float32 WAV at `target`, at its own rate and channels.

    Integers are scaled by 1 / 2^(bits - 1), floats are kept. Raises UnsupportedMedia, BadAudio, OSError;
    `target` may then be half written.
    """
    try:
        with source.open("rb") as file, target.open("wb") as sink:
            return _decode(file, sink, target, container, limits)
    except MemoryError as error:
        raise limits.too_much_memory() from error


def _decode(
    file: BinaryIO, sink: BinaryIO, target: Path, container: Container, limits: DecodeLimits
) -> Decoded:
    layout = container.spec.examine(file)
    if layout.pcm is not None:
        sound = SoundFormat(layout.pcm.rate_hz, layout.pcm.channels)
        written = _write(((sound, block) for block in pcm_blocks(file, layout.pcm)), sink, limits)
        codec = layout.pcm.codec
    else:
        # libav takes a third of the time in which this process starts, and PCM does without.
        from deployments.audio.decode.libav_reader import LibavReader

        reader = LibavReader(file, container, layout, limits)
        written = _write(reader.blocks(), sink, limits)
        codec = reader.codec
    _check_peak(written.peak, is_coded=not codec.startswith("pcm_f"))
    sink.flush()
    with target.open("rb") as finished:  # the header comes first in the hash and is known last
        sha256 = hashlib.file_digest(finished, "sha256").hexdigest()
    return Decoded(
        sha256=sha256,
        size_bytes=target.stat().st_size,
        samples=written.samples,
        rate_hz=written.sound.rate_hz,
        channels=written.sound.channels,
        rms_dbfs=decibels_of_power(written.energy / (written.samples * written.sound.channels)),
        peak_dbfs=decibels_of_power(written.peak**2),
        codec=codec,
    )


@dataclass(frozen=True, slots=True)
class _Written:
    sound: SoundFormat
    samples: int
    energy: float
    peak: float


def _write(blocks: Iterator[tuple[SoundFormat, Block]], sink: BinaryIO, limits: DecodeLimits) -> _Written:
    """Raises BadAudio for what is outside the limits, and where one part's rate or channels are not another's."""
    samples, energy, peak = 0, 0.0, 0.0
    sound: SoundFormat | None = None
    sink.write(bytes(HEADER_BYTES))
    for found, block in blocks:
        if sound is None:
            limits.check(found)
            sound = found
        elif found != sound:
            raise damaged(
                "it holds several recordings, one after the other, in different sample rates or channels"
            )
        if not np.isfinite(block).all():
            raise BadAudio(BadAudioCode.NOT_FINITE, "the file has samples that are not finite numbers")
        samples += block.shape[0]
        if samples > limits.most_samples(sound):
            raise limits.too_large(sound)
        energy += float(np.square(block, dtype=np.float64).sum())
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
        sink.write(block.astype("<f4", copy=False).data)
    if sound is None or not samples:
        raise empty()
    if samples < limits.min_duration_s * sound.rate_hz:
        needed = f"at least {limits.min_duration_s:g} s are needed"
        raise BadAudio(BadAudioCode.TOO_SHORT, f"the file has {plural(samples, 'sample')}; {needed}")
    sink.seek(0)
    sink.write(wav_header(samples, sound.channels, sound.rate_hz))
    return _Written(sound, samples, energy, peak)


def _check_peak(peak: float, *, is_coded: bool) -> None:
    peak_dbfs = decibels_of_power(peak**2)
    if is_coded and peak_dbfs > MAX_CODED_PEAK_DBFS:
        raise damaged(f"its loudest sample would be {peak_dbfs:.0f} dB over full scale")
    if peak_dbfs > MAX_PEAK_DBFS:
        raise BadAudio(
            BadAudioCode.TOO_LOUD,
            f"the file's loudest sample is {peak_dbfs:.0f} dB over full scale; at most {MAX_PEAK_DBFS:.0f} dB are "
            "taken: full scale is ±1.0 in a file of floats",
        )
