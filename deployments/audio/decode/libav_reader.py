"""Audio that needs a decoder, through libav. Runs in the decoder's own process.

Demuxer and decoders are forced from the sniffed container, nothing but the bytes of the file itself can be
opened, and only the first audio stream is looked at: playlists, external references and cover art lead nowhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from deployments.audio.decode.completeness import damaged, empty, plural, truncated
from deployments.audio.decode.containers.layout import FlacMd5, Layout, Span
from deployments.audio.decode.errors import UnsupportedMedia
from deployments.audio.decode.flac_frames import FlacFrames
from deployments.audio.decode.formats import Container
from deployments.audio.decode.limits import DecodeLimits
from deployments.audio.decode.pcm_reader import Block
from deployments.audio.decode.window import Window
from deployments.audio.samples import SoundFormat

_BLOCK_SAMPLES = 32_768
"""Frames are gathered to about this many samples per channel before they are converted."""

_PADDING_SAMPLES = 4096
"""The most by which an encoder's frames differ from the length that the file declares."""

_SCALES: dict[str, tuple[float, float]] = {"u8": (128.0, 128.0), "s16": (0.0, 2.0**15), "s32": (0.0, 2.0**31)}
"""Of integer formats: what is silence, and what is full scale."""

_NAMES = {
    "ac3": "Dolby Digital",
    "eac3": "Dolby Digital Plus",
    "dts": "DTS",
    "dca": "DTS",
    "truehd": "Dolby TrueHD",
    "speex": "Speex",
    "mp2": "MPEG layer II",
    "mp2float": "MPEG layer II",
    "wmav2": "Windows Media Audio",
    "wmapro": "Windows Media Audio",
    "qdm2": "QDesign Music",
    "g726": "G.726",
    "g722": "G.722",
}
"""Codecs that are met and not read, for people."""


@dataclass(frozen=True, slots=True)
class _Form:
    """What may not change in the middle of a stream."""

    sound: SoundFormat
    sample_format: str


class LibavReader:
    """`blocks` may be read once; `codec` is what they were coded in, once the first has been read."""

    def __init__(self, file: BinaryIO, container: Container, layout: Layout, limits: DecodeLimits) -> None:
        self._file = file
        self._container = container
        self._format = container.spec
        self._layout = layout
        self._limits = limits
        self.codec = ""

    def blocks(self) -> Iterator[tuple[SoundFormat, Block]]:
        """float32 [samples, channels], never empty, of all parts of the file, one after the other.

        Raises UnsupportedMedia, and BadAudio for what is damaged, shorter than declared, outside the limits of rate
        and channels, or changes them in the middle.
        """
        total = 0
        for part in self._layout.parts:
            for sound, block in self._part_blocks(part):
                total += len(block)
                exact = self._layout.exact_samples
                yield sound, block if exact is None else block[: len(block) - max(0, total - exact)]
        least = self._layout.least_samples
        if least is not None and 0 < total < least:
            raise truncated(f"it has {total} of the {plural(least, 'sample')} that its header announces")

    def _part_blocks(self, part: Span) -> Iterator[tuple[SoundFormat, Block]]:
        try:
            with self._open(part) as opened:
                yield from self._stream_blocks(opened, self._audio_stream(opened))
        except av.error.EOFError as error:
            raise empty() from error
        except MemoryError:  # before FFmpegError: libav's own is both
            raise
        except av.error.FFmpegError as error:
            raise damaged(f"it cannot be read as {self._format.name}") from error

    def _open(self, part: Span) -> InputContainer:
        options = {
            "protocol_whitelist": "none",
            "format_whitelist": av.ContainerFormat(self._format.demuxer, "r").name,
            "codec_whitelist": ",".join(self._format.decoders),
        }
        if self._container is Container.M4A:
            options["enable_drefs"] = "0"  # a track whose samples are in another file, named by path
        opened = av.open(
            Window(self._file, part),
            format=self._format.demuxer,
            options=options,
            metadata_errors="replace",  # tags are in any encoding, and are not used
        )
        assert isinstance(opened, InputContainer)  # noqa: S101  (it is opened for reading)
        return opened

    def _audio_stream(self, opened: InputContainer) -> AudioStream:
        name = self._format.name
        if not opened.streams.audio:
            raise UnsupportedMedia(f"there is no audio in this {name} file that can be read here")
        stream = opened.streams.audio[0]
        decoder = stream.codec_context.name if stream.codec_context is not None else ""
        if decoder not in self._format.decoders:
            known = f" ({_NAMES[decoder]})" if decoder in _NAMES else ""
            raise UnsupportedMedia(
                f"the audio in this {name} file is coded in a way that is not read here{known}; "
                "send it as WAV, FLAC or MP3"
            )
        stream.codec_context.thread_count = 1
        if decoder == "flac":
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        if decoder == "alac" and self._container is Container.CAF:
            # The last packet says itself how long it is: libav cuts it off once more.
            stream.codec_context.options = {"flags2": "+skip_manual"}
        self.codec = stream.codec.canonical_name
        return stream

    def _stream_blocks(
        self, opened: InputContainer, stream: AudioStream
    ) -> Iterator[tuple[SoundFormat, Block]]:
        form: _Form | None = None
        gathered: list[AudioFrame] = []
        total, waiting = 0, 0
        check = _Md5Check(self._layout.md5) if self._layout.md5 is not None else None
        for frame in self._frames(opened, stream):
            sound = SoundFormat(frame.sample_rate, frame.layout.nb_channels)
            found = _Form(sound, frame.format.name)
            if form is None:
                self._limits.check(sound)  # before its samples are looked at: PyAV crashes on many planes
                form = found
            if found != form:
                raise damaged("its sample rate, channels or sample format change in the middle")
            if waiting >= _BLOCK_SAMPLES:
                yield sound, _to_float(gathered, sound)
                gathered, waiting = [], 0
            gathered.append(frame)
            waiting += frame.samples
            total += frame.samples
            if check is not None:
                check.update(frame)
        if form is None:
            return
        if check is not None:
            check.finish(total, self._layout.least_samples)
        self._check_length(stream, total, form.sound.rate_hz)
        padding = _frame_padding(gathered[-1]) if self._container is Container.M4A else 0
        yield form.sound, _to_float(gathered, form.sound)[: waiting - padding]

    def _frames(self, opened: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
        failed, has_begun = 0, False
        is_unchecked = self._container is Container.FLAC and self._layout.md5 is None
        numbered = FlacFrames() if is_unchecked else None
        for packet in opened.demux(stream):
            if packet.is_corrupt:
                raise truncated("its last part is incomplete")
            if not packet.size:  # an empty page, or the sign of the end
                continue
            try:
                frames = [frame for frame in packet.decode() if frame.samples]
            except av.error.InvalidDataError:
                failed += 1
                continue
            if frames and failed > (0 if has_begun else self._format.early_damage):
                raise damaged("a part of it cannot be decoded")
            if frames:
                has_begun, failed = True, 0
                if numbered is not None:
                    numbered.add(bytes(packet), sum(frame.samples for frame in frames))
            yield from frames
        if failed and self._container is Container.FLAC:
            raise truncated("its last frame is incomplete")
        if failed:
            raise damaged("its end cannot be decoded")
        if numbered is not None and has_begun:
            numbered.finish()
        yield from (frame for frame in stream.decode(None) if frame.samples)

    def _check_length(self, stream: AudioStream, total: int, rate_hz: int) -> None:
        """What encoders put before and after the audio may count or not. A file that has its end and still lacks
        audio is damaged in the middle."""
        if not self._format.has_length or not stream.duration or stream.time_base is None:
            return
        declared = round(stream.duration * stream.time_base * rate_hz)
        is_pcm = self.codec.startswith("pcm_")
        if total < declared - _PADDING_SAMPLES or (is_pcm and total > declared + _PADDING_SAMPLES):
            raise damaged(f"it has {total} of the {plural(declared, 'sample')} that it declares")


class _Md5Check:
    """Compares the samples of a FLAC with the MD5 that its header has."""

    def __init__(self, expected: FlacMd5) -> None:
        self._expected = expected
        self._md5 = hashlib.md5(usedforsecurity=False)

    def update(self, frame: AudioFrame) -> None:
        """Samples are hashed as little-endian integers of whole bytes, in the order of time."""
        raw: npt.NDArray[np.signedinteger[Any]] = frame.to_ndarray()  # type: ignore[assignment]
        interleaved = np.ascontiguousarray(raw.T if frame.format.is_planar else raw).reshape(-1)
        width_bytes = -(-self._expected.bits // 8)
        held_bits = 8 * interleaved.dtype.itemsize
        aligned = interleaved >> max(0, held_bits - self._expected.bits)
        data = aligned.astype(f"<i{interleaved.dtype.itemsize}").view(np.uint8)
        self._md5.update(data.reshape(-1, interleaved.dtype.itemsize)[:, :width_bytes].tobytes())

    def finish(self, total: int, announced: int | None) -> None:
        """Raises BadAudio: a file that is shorter than announced is cut off, another is damaged."""
        if self._md5.digest() == self._expected.digest:
            return
        if announced is not None and total < announced:
            raise truncated(f"it has {total} of the {plural(announced, 'sample')} that its header announces")
        raise damaged("its samples are not those that its checksum was made of")


def _frame_padding(last: AudioFrame) -> int:
    """How many samples only fill the last frame: MP4 declares how long it is to last."""
    if not last.duration or last.time_base is None:
        return 0
    lasting = round(last.duration * last.time_base * last.sample_rate)
    return last.samples - lasting if 0 < lasting < last.samples else 0


def _to_float(frames: list[AudioFrame], sound: SoundFormat) -> Block:
    """[samples, channels], C-contiguous; frames are packed ([1, samples * channels]) or planar."""
    raw = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
    interleaved = raw.T if frames[0].format.is_planar else raw.reshape(-1, sound.channels)
    silence, full_scale = _SCALES.get(frames[0].format.packed.name, (0.0, 1.0))
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite and is refused
        if full_scale != 1.0:
            interleaved = (interleaved.astype(np.float64) - silence) / full_scale
        return np.ascontiguousarray(interleaved, dtype=np.float32)
