"""The one table of what an export can be: file name, MIME type, depths, rates, qualities and codec of each
format.

Pure: values in, ffmpeg's arguments out. Rendered audio is a float32 WAV that has the file's rate already
(resampled by soxr) and, for 16 bits, its dither, so ffmpeg changes no sample of a lossless format. What is
left out of the table is left out on purpose: MP3 without a Xing header and bare AAC (ADTS) start late by a
thousand samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from deployments.export.chapters import ChapterPlace
from deployments.export.media_errors import WrongOption, WrongValue
from deployments.export.tags import Tags, TagStyle, tag_arguments

MAX_RATE_HZ = 192_000
EXPORT_RATES_HZ = (32_000, 44_100, 48_000)
"""What may be asked for; a chain's own rate is kept without asking where the format knows it."""

_MPEG_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_OPUS_RATES_HZ = (48_000,)
_MP3_LOW_RATE_KBPS = {8_000: 64, 11_025: 64, 12_000: 64, 16_000: 160, 22_050: 160, 24_000: 160}
"""The most that LAME writes at these; 320 at the others."""


_Choice = TypeVar("_Choice", int, str)


class Kind(StrEnum):
    AUDIO = "audio"
    VIDEO = "video"
    PACKAGE = "package"


class CoverPlace(StrEnum):
    """PICTURE: a second stream; COMMENT: a Vorbis comment with the picture in base64."""

    NONE = "none"
    PICTURE = "picture"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Format:
    """`rates_hz` empty: any up to MAX_RATE_HZ. `depths`: bits to ffmpeg's arguments, 32 for float; the first
    of `qualities` is the default. `exact_start`: decoded with what the container says, the first sample is
    the first one rendered; `exact_length`: and the last one the last, which for Opus holds because audio is
    rendered at 48 kHz. `holds_manifest`: a C2PA manifest has a place in it. `chapters`: where players find them."""

    name: str
    suffix: str
    mime_type: str
    kind: Kind
    title: str
    lossless: bool = False
    rates_hz: tuple[int, ...] = ()
    depths: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    default_depth: int | None = None
    qualities: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    muxer: tuple[str, ...] = ()
    tag_style: TagStyle = TagStyle.NONE
    cover: CoverPlace = CoverPlace.NONE
    wav_chunks: bool = False
    holds_manifest: bool = False
    chapters: ChapterPlace = ChapterPlace.NONE
    exact_start: bool = True
    exact_length: bool = True
    coarse_above_hz: int = MAX_RATE_HZ

    @property
    def default_quality(self) -> str | None:
        return next(iter(self.qualities), None)

    def rate_for(self, rate_hz: int) -> int:
        """The file's rate for audio of this one: the same, the next one that the format knows, or its highest."""
        if self.rates_hz:
            return next((known for known in self.rates_hz if known >= rate_hz), self.rates_hz[-1])
        held = min(rate_hz, MAX_RATE_HZ)
        return held if held <= self.coarse_above_hz else -(-held // 10) * 10

    def describe(self) -> dict[str, Any]:
        """What a client may choose, JSON-able."""
        return {
            "name": self.name,
            "title": self.title,
            "kind": self.kind.value,
            "suffix": self.suffix,
            "media_type": self.mime_type,
            "lossless": self.lossless,
            "sample_rates_hz": list(self.rates_hz) or None,
            "bit_depths": list(self.depths),
            "default_bit_depth": self.default_depth,
            "bitrates": list(self.qualities),
            "default_bitrate": self.default_quality,
            "cover": self.takes_cover,
        }

    @property
    def takes_cover(self) -> bool:
        return self.cover is not CoverPlace.NONE or self.kind is Kind.VIDEO


_FLAC = ("-c:a", "flac", "-compression_level", "8")
_AAC = ("-c:a", "aac", "-profile:a", "aac_low")

FORMATS: Mapping[str, Format] = {
    row.name: row
    for row in (
        Format(
            "wav",
            ".wav",
            "audio/wav",
            Kind.AUDIO,
            "WAV",
            lossless=True,
            depths={16: ("-c:a", "pcm_s16le"), 24: ("-c:a", "pcm_s24le"), 32: ("-c:a", "pcm_f32le")},
            default_depth=24,
            muxer=("-rf64", "auto", "-f", "wav"),
            tag_style=TagStyle.RIFF_INFO,
            wav_chunks=True,
            holds_manifest=True,
        ),
        Format(
            "flac",
            ".flac",
            "audio/flac",
            Kind.AUDIO,
            "FLAC",
            lossless=True,
            depths={
                16: (*_FLAC, "-sample_fmt", "s16"),
                24: (*_FLAC, "-sample_fmt", "s32", "-bits_per_raw_sample", "24"),
            },
            default_depth=24,
            coarse_above_hz=65_534,
            muxer=("-f", "flac"),
            tag_style=TagStyle.VORBIS,
            cover=CoverPlace.PICTURE,
            chapters=ChapterPlace.COMMENTS,
            holds_manifest=True,
        ),
        Format(
            "aiff",
            ".aiff",
            "audio/aiff",
            Kind.AUDIO,
            "AIFF",
            lossless=True,
            depths={16: ("-c:a", "pcm_s16be"), 24: ("-c:a", "pcm_s24be")},
            default_depth=24,
            muxer=("-write_id3v2", "1", "-id3v2_version", "3", "-f", "aiff"),
            tag_style=TagStyle.ID3,
            cover=CoverPlace.PICTURE,
        ),
        Format(
            "mp3",
            ".mp3",
            "audio/mpeg",
            Kind.AUDIO,
            "MP3",
            rates_hz=_MPEG_RATES_HZ,
            qualities={
                "320k": ("-c:a", "libmp3lame", "-b:a", "320k"),
                "v0": ("-c:a", "libmp3lame", "-q:a", "0"),
            },
            muxer=("-id3v2_version", "3", "-write_xing", "1", "-f", "mp3"),
            tag_style=TagStyle.ID3,
            cover=CoverPlace.PICTURE,
            chapters=ChapterPlace.LIST,
            holds_manifest=True,
        ),
        Format(
            "opus",
            ".opus",
            "audio/ogg",
            Kind.AUDIO,
            "Opus",
            rates_hz=_OPUS_RATES_HZ,
            qualities={rate: ("-c:a", "libopus", "-b:a", rate) for rate in ("192k", "128k", "96k", "256k")},
            muxer=("-f", "opus"),
            tag_style=TagStyle.VORBIS,
            cover=CoverPlace.COMMENT,
            chapters=ChapterPlace.COMMENTS,
        ),
        Format(
            "m4a",
            ".m4a",
            "audio/mp4",
            Kind.AUDIO,
            "M4A (AAC)",
            rates_hz=_MPEG_RATES_HZ,
            qualities={rate: (*_AAC, "-b:a", rate) for rate in ("256k", "192k", "128k", "320k")},
            muxer=("-movflags", "+faststart", "-f", "ipod"),
            tag_style=TagStyle.ITUNES,
            cover=CoverPlace.PICTURE,
            chapters=ChapterPlace.LIST,
            holds_manifest=True,
        ),
        Format(
            "mp4",
            ".mp4",
            "video/mp4",
            Kind.VIDEO,
            "MP4 video",
            rates_hz=_MPEG_RATES_HZ,
            tag_style=TagStyle.ITUNES,
            chapters=ChapterPlace.LIST,
            holds_manifest=True,
        ),
        Format("daw", ".zip", "application/zip", Kind.PACKAGE, "DAW package", lossless=True),
    )
}


AUDIO_FORMATS = tuple(form.name for form in FORMATS.values() if form.kind is Kind.AUDIO)
FLOAT_BITS = 32
"""The depth of floats, which alone keep what is over full scale."""


def format_named(name: str) -> Format:
    """Raises WrongOption that lists the formats there are."""
    known = FORMATS.get(name)
    if known is None:
        raise WrongOption("format", f"There is no format {name[:20]!r}; there are {', '.join(FORMATS)}.")
    return known


@dataclass(frozen=True, slots=True)
class AudioEncoding:
    """How rendered audio becomes an audio file. What is None becomes the format's default.

    Raises WrongValue for what the format cannot hold: other channels than 1 or 2, a rate, depth or quality
    that it does not know, a depth for a lossy format or a quality for a lossless one.
    """

    format: Format
    rate_hz: int
    channels: int
    bit_depth: int | None = None
    quality: str | None = None

    def __post_init__(self) -> None:
        form = self.format
        if form.kind is not Kind.AUDIO:
            raise WrongValue(f"{form.title} is not an audio file.")
        if self.channels not in (1, 2):
            raise WrongValue(f"An export has 1 or 2 channels, not {self.channels}.")
        if not 1 <= self.rate_hz <= MAX_RATE_HZ or form.rate_for(self.rate_hz) != self.rate_hz:
            raise WrongOption("sample_rate_hz", f"{form.title} has no sample rate of {self.rate_hz} Hz.")
        object.__setattr__(
            self, "bit_depth", _chosen(form, "bit_depth", self.bit_depth, form.depths, form.default_depth)
        )
        object.__setattr__(
            self, "quality", _chosen(form, "bitrate", self.quality, form.qualities, form.default_quality)
        )

    @property
    def bitrate_kbps(self) -> int | None:
        """None for a lossless file, and where the rate varies with the music."""
        if self.quality is None or not self.quality.endswith("k"):
            return None
        return self._low_rate_kbps or int(self.quality[:-1])

    @property
    def _low_rate_kbps(self) -> int | None:
        """What LAME writes where an MP3's rate is too low for the bitrate that was asked for."""
        is_bound = self.format.name == "mp3" and self.quality == "320k"
        return _MP3_LOW_RATE_KBPS.get(self.rate_hz) if is_bound else None

    def codec_arguments(self) -> tuple[str, ...]:
        if self.bit_depth is not None:
            return self.format.depths[self.bit_depth]
        if self._low_rate_kbps is not None:
            return ("-c:a", "libmp3lame", "-b:a", f"{self._low_rate_kbps}k")
        return self.format.qualities[self.quality or ""]


def encode_arguments(
    encoding: AudioEncoding,
    source: Path,
    target: Path,
    *,
    tags: Tags | None = None,
    cover: Path | None = None,
    chapters: Path | None = None,
) -> list[str]:
    """ffmpeg's arguments, without the program's name, to encode the float32 WAV `source` as `target`.

    `source` has the encoding's rate and channels. `cover` is what `write_cover` wrote for this format, else
    None, and `chapters` what `write_chapters` wrote, for a format that has them. Equal sources, encodings, tags,
    covers and chapters give equal bytes with the same ffmpeg.
    """
    form = encoding.format
    picture = form.cover if cover is not None else CoverPlace.NONE
    inputs: list[str] = []
    maps = ["-map", "0:a:0"]
    tagged: list[int] = []
    listed: int | None = None
    if picture is CoverPlace.PICTURE:
        inputs = ["-protocol_whitelist", "file", "-f", "mjpeg", "-i", f"file:{cover}"]
        maps += ["-map", "1:v:0", "-c:v", "copy", "-disposition:v:0", "attached_pic"]
    elif picture is CoverPlace.COMMENT:
        inputs = ffmetadata_input(cover)
        tagged.append(1)
    if chapters is not None:
        number = 2 if inputs else 1
        inputs += ffmetadata_input(chapters)
        if form.chapters is ChapterPlace.COMMENTS:
            tagged.append(number)
        else:
            listed = number
    return [
        *("-hide_banner", "-nostdin", "-loglevel", "error", "-y"),
        # The format is forced and only files are opened; `file:` keeps a path with a colon or a dash a path.
        *("-protocol_whitelist", "file", "-f", "wav", "-i", f"file:{source}"),
        *inputs,
        *maps,
        *taken_over(tagged, listed),
        # No version strings, no random serials, no threads: equal input, equal bytes.
        *("-fflags", "+bitexact", "-flags:a", "+bitexact", "-threads", "1"),
        *("-ar", str(encoding.rate_hz), "-ac", str(encoding.channels)),
        *encoding.codec_arguments(),
        *(tag_arguments(tags, form.tag_style) if tags is not None else ()),
        *form.muxer,
        f"file:{target}",
    ]


def ffmetadata_input(path: Path | None) -> list[str]:
    """One more input of ffmpeg: tags or chapters."""
    return ["-protocol_whitelist", "file", "-f", "ffmetadata", "-i", f"file:{path}"]


def taken_over(tagged: Sequence[int], listed: int | None) -> list[str]:
    """ffmpeg's arguments that take tags from the inputs `tagged` and a list of chapters from `listed`, and nothing
    else from anywhere. Without the specifiers, the names of the chapters would not be taken over either."""
    tags = [argument for number in tagged or (-1,) for argument in ("-map_metadata:g", str(number))]
    chapters = "-1" if listed is None else str(listed)
    return [*tags, "-map_metadata:s", "-1", "-map_chapters", chapters]


def decode_arguments(source: Path, target: Path) -> list[str]:
    """ffmpeg's arguments to decode the first audio of `source` as bare float32 samples, little-endian and
    interleaved, with all that the container says of padding."""
    return [
        *("-hide_banner", "-nostdin", "-loglevel", "error", "-y"),
        *("-protocol_whitelist", "file", "-i", f"file:{source}"),
        *("-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", f"file:{target}"),
    ]


def _chosen(
    form: Format, field: str, wanted: _Choice | None, known: Mapping[_Choice, object], default: _Choice | None
) -> _Choice | None:
    what = field.replace("_", " ")
    if wanted is None:
        return default
    if not known:
        raise WrongOption(field, f"{form.title} has no {what} to choose.")
    if wanted not in known:
        choice = ", ".join(map(str, known))
        raise WrongOption(field, f"The {what} of {form.title} is {choice}, not {str(wanted)[:20]}.")
    return wanted
