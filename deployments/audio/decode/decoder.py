"""An untrusted file as float32 blocks, and as the canonical WAV. Runs in the decoder's own process.

Demuxer and decoders are forced from the sniffed container, nested opens are held to local files and pipes, and
only the first audio stream is looked at: playlists, external references and cover art lead nowhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from deployments.audio.decode.completeness import check_complete, truncated
from deployments.audio.decode.errors import BadAudio, BadAudioCode, UnsupportedMedia
from deployments.audio.decode.limits import DecodeLimits
from deployments.audio.decode.sniff import Container
from deployments.audio.levels import decibels_of_power
from deployments.audio.wav import HEADER_BYTES, wav_header

_PCM = ("pcm_s16le", "pcm_f32le", "pcm_alaw", "pcm_mulaw", "pcm_u8")
_DECODERS: dict[Container, tuple[str, ...]] = {
    Container.WAV: (*_PCM, "pcm_s24le", "pcm_s32le", "pcm_f64le"),
    Container.AIFF: (*_PCM, "pcm_s8", "pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_f32be", "pcm_f64be"),
    Container.FLAC: ("flac",),
    Container.OGG: ("vorbis", "opus", "flac"),
    Container.MP3: ("mp3float", "mp3"),
    Container.M4A: ("aac", "alac", "flac", "opus", "mp3float", "mp3"),
}

_BLOCK_SAMPLES = 32_768
"""Frames are gathered to about this many samples per channel before they are converted."""

_PADDING_SAMPLES = 4096
"""The most by which an encoder's frames differ from the length that the file declares."""

_DAMAGED_AT_END = 2
"""So many packets at the end of an MP3 may be no audio: tags that the demuxer does not know."""

_SCALES: dict[str, tuple[float, float]] = {"u8": (128.0, 128.0), "s16": (0.0, 2.0**15), "s32": (0.0, 2.0**31)}
"""Of integer formats: what is silence, and what is full scale."""

_Block = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Form:
    """What may not change in the middle of a stream."""

    rate_hz: int
    channels: int
    sample_format: str


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
    with source.open("rb") as file:
        check_complete(file, container)
    try:
        return _decode(source, target, container, limits)
    except MemoryError as error:  # before FFmpegError: libav's own is both
        raise limits.too_much_memory() from error
    except av.error.EOFError as error:
        raise _empty() from error
    except av.error.FFmpegError as error:
        raise _corrupt(f"it cannot be read as {container} ({error.strerror})") from error


def _decode(source: Path, target: Path, container: Container, limits: DecodeLimits) -> Decoded:
    samples, energy, peak = 0, 0.0, 0.0
    form: _Form | None = None
    with _open(source, container) as opened, target.open("wb") as sink:
        stream = _audio_stream(opened, container)
        sink.write(bytes(HEADER_BYTES))
        for form, block in _blocks(opened, stream, container, limits):
            if not np.isfinite(block).all():
                raise BadAudio(BadAudioCode.NOT_FINITE, "the file has samples that are not finite numbers")
            samples += block.shape[0]
            if samples > limits.max_duration_s * form.rate_hz:
                raise limits.too_long()
            energy += float(np.square(block, dtype=np.float64).sum())
            peak = max(peak, float(np.abs(block).max()))
            sink.write(block.astype("<f4", copy=False).data)
        if form is None or not samples:
            raise _empty()
        if samples < limits.min_duration_s * form.rate_hz:
            needed = f"at least {limits.min_duration_s:g} s are needed"
            raise BadAudio(BadAudioCode.TOO_SHORT, f"the file has {samples} samples; {needed}")
        sink.seek(0)
        sink.write(wav_header(samples, form.channels, form.rate_hz))
        codec = stream.codec.canonical_name
    with target.open("rb") as file:  # the header comes first in the hash and is known last
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Decoded(
        sha256=sha256,
        size_bytes=target.stat().st_size,
        samples=samples,
        rate_hz=form.rate_hz,
        channels=form.channels,
        rms_dbfs=decibels_of_power(energy / (samples * form.channels)),
        peak_dbfs=decibels_of_power(peak**2),
        codec=codec,
    )


def _open(source: Path, container: Container) -> InputContainer:
    options = {
        "protocol_whitelist": "file,pipe",
        "format_whitelist": av.ContainerFormat(container.demuxer, "r").name,
        "codec_whitelist": ",".join(_DECODERS[container]),
    }
    if container is Container.M4A:
        options["enable_drefs"] = "0"  # a track whose samples are in another file, named by path
    return av.open(
        f"file:{source}",
        format=container.demuxer,
        options=options,
        metadata_errors="replace",  # tags are in any encoding, and are not used
    )


def _audio_stream(opened: InputContainer, container: Container) -> AudioStream:
    if not opened.streams.audio:
        raise _corrupt("it has no audio stream")
    stream = opened.streams.audio[0]
    decoder = stream.codec_context.name if stream.codec_context is not None else "unknown"
    if decoder not in _DECODERS[container]:
        raise UnsupportedMedia(f"{container} files with audio of the kind {decoder} are not read")
    stream.codec_context.thread_count = 1
    return stream


def _blocks(
    opened: InputContainer, stream: AudioStream, container: Container, limits: DecodeLimits
) -> Iterator[tuple[_Form, _Block]]:
    """The stream in blocks of [samples, channels], never empty.

    Raises BadAudio for a stream outside the limits of rate and channels, one that changes in the middle and one
    that is damaged or shorter than declared.
    """
    form: _Form | None = None
    gathered: list[AudioFrame] = []
    total, waiting = 0, 0
    for frame in _frames(opened, stream, container):
        found = _Form(frame.sample_rate, frame.layout.nb_channels, frame.format.name)
        if form is None:
            form = _checked(found, limits)
        elif found != form:
            raise _corrupt("its sample rate, channels or sample format change in the middle")
        if waiting >= _BLOCK_SAMPLES:
            yield form, _to_float(gathered, form)
            gathered, waiting = [], 0
        gathered.append(frame)
        waiting += frame.samples
        total += frame.samples
    if form is None:
        return
    declared = _declared_samples(stream, container, form.rate_hz)
    if declared is not None:
        _check_length(total, declared, container)
    padding = _frame_padding(gathered[-1]) if container is Container.M4A else 0
    yield form, _to_float(gathered, form)[: waiting - padding]


def _frames(opened: InputContainer, stream: AudioStream, container: Container) -> Iterator[AudioFrame]:
    damaged = 0
    for packet in opened.demux(stream):
        try:
            frames = [frame for frame in packet.decode() if frame.samples]
        except av.error.InvalidDataError:
            damaged += 1
            continue
        if frames and damaged:
            raise _corrupt("a part of it cannot be decoded")
        yield from frames
    if damaged and container is Container.FLAC:
        raise truncated("its last frame is incomplete")
    if damaged > (_DAMAGED_AT_END if container is Container.MP3 else 0):
        raise _corrupt("its end cannot be decoded")


def _checked(form: _Form, limits: DecodeLimits) -> _Form:
    if form.channels > limits.max_channels:
        raise BadAudio(
            BadAudioCode.CHANNELS,
            f"the file has {form.channels} channels; at most {limits.max_channels} are taken",
        )
    if not limits.min_rate_hz <= form.rate_hz <= limits.max_rate_hz:
        allowed = f"{limits.min_rate_hz} to {limits.max_rate_hz} Hz are taken"
        raise BadAudio(BadAudioCode.RATE, f"the file's sample rate is {form.rate_hz} Hz; {allowed}")
    return form


def _declared_samples(stream: AudioStream, container: Container, rate_hz: int) -> int | None:
    """The length by the file's own header (Ogg: its last page), in the formats where it is no estimate."""
    if container not in (Container.FLAC, Container.M4A, Container.OGG):
        return None
    if not stream.duration or stream.time_base is None:
        return None
    return round(stream.duration * stream.time_base * rate_hz)


def _check_length(total: int, declared: int, container: Container) -> None:
    """FLAC is to be as long as it declares; elsewhere what encoders put before and after the audio may count.

    An M4A or Ogg file that has its end and still lacks audio is damaged in the middle.
    """
    shortfall = f"it has {total} of the {declared} samples that it declares"
    if container is Container.FLAC and total < declared:
        raise truncated(shortfall)
    if total < declared - _PADDING_SAMPLES:
        raise _corrupt(shortfall)


def _frame_padding(last: AudioFrame) -> int:
    """How many samples only fill the last frame: MP4 declares how long it is to last."""
    if not last.duration or last.time_base is None:
        return 0
    lasting = round(last.duration * last.time_base * last.sample_rate)
    return last.samples - lasting if 0 < lasting < last.samples else 0


def _to_float(frames: list[AudioFrame], form: _Form) -> _Block:
    """[samples, channels], C-contiguous; frames are packed ([1, samples * channels]) or planar."""
    raw = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
    interleaved = raw.T if frames[0].format.is_planar else raw.reshape(-1, form.channels)
    silence, full_scale = _SCALES.get(frames[0].format.packed.name, (0.0, 1.0))
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite and is refused
        if full_scale != 1.0:
            interleaved = (interleaved.astype(np.float64) - silence) / full_scale
        return np.ascontiguousarray(interleaved, dtype=np.float32)


def _empty() -> BadAudio:
    return BadAudio(BadAudioCode.EMPTY, "the file has no audio in it")


def _corrupt(detail: str) -> BadAudio:
    return BadAudio(BadAudioCode.CORRUPT, f"the file is damaged: {detail}")
