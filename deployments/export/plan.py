"""What an export is: which audio, encoded how. Pure: values in, a hash and ffmpeg's arguments out.

Two plans with the same hash give the same file, so an export that was asked for twice is made once. Hence
nothing that differs from run to run (times, version strings, threads) may get into a file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path

MAX_SAMPLE_RATE_HZ = 192_000
MAX_TAG_CHARS = 2_000

_SHA256 = re.compile(r"[0-9a-f]{64}")
# C0 and C1 controls but tab and newline. NUL cannot be passed to a program at all.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


class AudioFormat(StrEnum):
    WAV = "wav"
    FLAC = "flac"
    MP3 = "mp3"

    @property
    def suffix(self) -> str:
        """The file name's ending, with its dot."""
        return f".{self.value}"

    @property
    def mime_type(self) -> str:
        return _MIME_TYPES[self]


_MIME_TYPES = {AudioFormat.WAV: "audio/wav", AudioFormat.FLAC: "audio/flac", AudioFormat.MP3: "audio/mpeg"}

_BIT_DEPTHS = {AudioFormat.WAV: (16, 24, 32), AudioFormat.FLAC: (16, 24), AudioFormat.MP3: ()}
DEFAULT_BIT_DEPTH = 24
FLOAT_BITS = 32
MAX_ATTENUATION_DB = 800.0
"""More than float32 is above full scale."""

_FLAC_ANY_RATE_UP_TO_HZ = 65_534
"""FLAC counts higher rates in tens of hertz."""

# MPEG-2.5, MPEG-2 and MPEG-1 Layer III: each rate with the highest bitrate that LAME writes at it, in kbit/s.
_MP3_BITRATES_KBPS = {
    8_000: 64,
    11_025: 64,
    12_000: 64,
    16_000: 160,
    22_050: 160,
    24_000: 160,
    32_000: 320,
    44_100: 320,
    48_000: 320,
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """Tags for the file: INFO in WAV, Vorbis comments in FLAC, ID3v2.3 in MP3. Empty ones are left out.

    Any text will do: what no file can hold (control characters, lone surrogates) goes, newlines stay, and
    each is cut at MAX_TAG_CHARS. In MP3 ffmpeg writes `comment` as the user text frame TXXX:comment.
    """

    title: str = ""
    artist: str = ""
    album: str = ""
    comment: str = ""
    copyright: str = ""
    date: str = ""
    genre: str = ""

    def __post_init__(self) -> None:
        for tag in fields(self):
            object.__setattr__(self, tag.name, _clean(getattr(self, tag.name)))


@dataclass(frozen=True, slots=True)
class EncodePlan:
    """How rendered audio becomes a file. Raises ValueError for what a format cannot hold.

    `sample_rate_hz` and `channels` are those of the rendered audio, and the file's, but that MP3 and FLAC know
    only some rates: see `encoded_rate_hz`. `bit_depth` is 16, 24 (the default) or, WAV only, 32 for float, which
    alone keeps what is over full scale; None for MP3. 16 bits are dithered where the audio is not on their grid
    already. `gain_db` (0 or less) is applied first.
    """

    format: AudioFormat
    sample_rate_hz: int
    channels: int
    bit_depth: int | None = None
    metadata: Metadata = field(default_factory=Metadata)
    gain_db: float = 0.0

    def __post_init__(self) -> None:
        if not -MAX_ATTENUATION_DB <= self.gain_db <= 0.0:
            raise ValueError(f"gain_db must be -{MAX_ATTENUATION_DB:g} to 0, not {self.gain_db}")
        if not 1 <= self.sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
            raise ValueError(f"sample_rate_hz must be 1 to {MAX_SAMPLE_RATE_HZ}, not {self.sample_rate_hz}")
        if self.channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, not {self.channels}")
        depths = _BIT_DEPTHS[self.format]
        if self.bit_depth is None and depths:
            object.__setattr__(self, "bit_depth", DEFAULT_BIT_DEPTH)
        elif self.bit_depth is not None and self.bit_depth not in depths:
            choice = ", ".join(map(str, depths)) or "left out"
            raise ValueError(f"bit_depth of {self.format} must be {choice}, not {self.bit_depth}")

    @property
    def encoded_rate_hz(self) -> int:
        """The file's rate: `sample_rate_hz`, or the next one that the format knows; for MP3 at most 48 kHz."""
        if self.format is AudioFormat.FLAC and self.sample_rate_hz > _FLAC_ANY_RATE_UP_TO_HZ:
            return -(-self.sample_rate_hz // 10) * 10
        if self.format is not AudioFormat.MP3:
            return self.sample_rate_hz
        return next((rate for rate in _MP3_BITRATES_KBPS if rate >= self.sample_rate_hz), 48_000)

    @property
    def keeps_overs(self) -> bool:
        """Whether samples over full scale are in the file as they are."""
        return self.bit_depth == FLOAT_BITS

    @property
    def gain(self) -> float:
        """`gain_db` as a factor, a hair less so that a peak brought to full scale is not rounded over it."""
        return 1.0 if self.gain_db == 0.0 else 10.0 ** (self.gain_db / 20.0) * (1.0 - 2.0**-22)

    @property
    def bitrate_kbps(self) -> int | None:
        """MP3's constant bitrate: 320, or the most that a low rate can carry. None for the others."""
        return _MP3_BITRATES_KBPS[self.encoded_rate_hz] if self.format is AudioFormat.MP3 else None


@dataclass(frozen=True, slots=True)
class ExportPiece:
    """One node's audio in the line, named by its content: the SHA-256 of its blob, and of its lead-in's."""

    sha256: str
    samples: int
    sample_rate_hz: int
    channels: int
    lead_in_sha256: str | None = None

    def __post_init__(self) -> None:
        for digest in (self.sha256, self.lead_in_sha256):
            if digest is not None and not _SHA256.fullmatch(digest):
                raise ValueError(f"not a SHA-256 in lower-case hex: {digest!r}")
        if self.samples < 1 or self.sample_rate_hz < 1 or self.channels < 1:
            raise ValueError("a piece has at least one sample, one channel and a rate")


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """A whole export: the spine's pieces in order, how they are encoded, and which renderer joins them.

    `renderer_version` counts up whenever the code that renders or encodes changes what is heard.
    """

    pieces: tuple[ExportPiece, ...]
    encode: EncodePlan
    renderer_version: int

    def __post_init__(self) -> None:
        if not self.pieces:
            raise ValueError("an export has at least one piece")

    def hash(self) -> str:
        """SHA-256 in hex of the plan as canonical JSON: in any process equal for equal plans, and only then."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def fitting_gain_db(peak_dbfs: float) -> float:
    """The gain that brings a signal of that peak inside full scale; 0 where it is inside already."""
    return -max(0.0, peak_dbfs) or 0.0


def ffmpeg_arguments(plan: EncodePlan, source: Path, target: Path) -> list[str]:
    """ffmpeg's arguments, without the program's name, to encode `source` as `target` (replaced if there).

    `source` has bare interleaved samples, little-endian, in the plan's channels at `encoded_rate_hz`: 16-bit
    integers for a `bit_depth` of 16, else float32 (`export.source` writes it). Equal sources and plans give equal
    bytes; WAV and FLAC have exactly the source's length, and MP3 a header by which players cut it to that.
    """
    rate, channels = str(plan.encoded_rate_hz), str(plan.channels)
    return [
        *("-hide_banner", "-nostdin", "-loglevel", "error", "-y"),
        # The format is forced and only files are opened, whatever the content claims to be; `file:` keeps a
        # path with a colon or a leading dash a path.
        *("-protocol_whitelist", "file", "-f", "s16le" if plan.bit_depth == 16 else "f32le"),
        *("-ar", rate, "-ac", channels, "-i", f"file:{source}"),
        *("-map", "0:a:0", "-map_metadata", "-1", "-map_chapters", "-1"),
        # No version strings, no random serials, no threads: equal input, equal bytes.
        *("-fflags", "+bitexact", "-flags:a", "+bitexact", "-threads", "1"),
        *("-ar", rate, "-ac", channels),
        *_codec_arguments(plan),
        *_metadata_arguments(plan.metadata),
        *("-f", plan.format.value, f"file:{target}"),
    ]


def _codec_arguments(plan: EncodePlan) -> tuple[str, ...]:
    match plan.format, plan.bit_depth:
        case AudioFormat.WAV, 16:
            return ("-c:a", "pcm_s16le", "-rf64", "auto")
        case AudioFormat.WAV, 32:
            return ("-c:a", "pcm_f32le", "-rf64", "auto")
        case AudioFormat.WAV, _:
            return ("-c:a", "pcm_s24le", "-rf64", "auto")
        case AudioFormat.FLAC, 16:
            return ("-c:a", "flac", "-sample_fmt", "s16", "-compression_level", "8")
        case AudioFormat.FLAC, _:
            return (
                "-c:a",
                "flac",
                "-sample_fmt",
                "s32",
                "-bits_per_raw_sample",
                "24",
                "-compression_level",
                "8",
            )
        case _:
            bitrate = ("-b:a", f"{plan.bitrate_kbps}k")
            return ("-c:a", "libmp3lame", *bitrate, "-id3v2_version", "3", "-write_xing", "1")


def _metadata_arguments(metadata: Metadata) -> list[str]:
    tags = asdict(metadata)
    return [argument for tag, text in tags.items() if text for argument in ("-metadata", f"{tag}={text}")]


def _clean(text: str) -> str:
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", unified))[:MAX_TAG_CHARS].strip()


def downloaded_gain_db(peak_dbfs: float) -> float:
    """The gain of a FLAC or MP3 that is made of audio with that peak, to a ten-thousandth of a decibel."""
    return -math.ceil(-fitting_gain_db(peak_dbfs) * 1e4) / 1e4 or 0.0
