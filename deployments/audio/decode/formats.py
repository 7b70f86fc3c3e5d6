"""The formats that are read, a row for each. A new format is a module in `containers` and a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Final

from deployments.audio.decode import mp3_frames
from deployments.audio.decode.containers import adts, aiff, amr, caf, flac, mp4, ogg, riff, w64, webm
from deployments.audio.decode.containers.layout import Layout


class Container(StrEnum):
    """The formats that are read; the value is the ending of a file's name."""

    WAV = "wav"
    W64 = "w64"
    AIFF = "aiff"
    CAF = "caf"
    FLAC = "flac"
    OGG = "ogg"
    M4A = "m4a"
    WEBM = "webm"
    AMR = "amr"
    MP3 = "mp3"
    AAC = "aac"

    @property
    def spec(self) -> Format:
        return FORMATS[self]

    @property
    def demuxer(self) -> str:
        """What libavformat calls it."""
        return self.spec.demuxer

    @property
    def media_type(self) -> str:
        return self.spec.media_type


@dataclass(frozen=True, slots=True)
class Format:
    """`name` is for people. `decoders` are those of libavcodec that may work on such a file.

    `may_follow_tag`: an ID3v2 tag may stand in front. `has_length`: the demuxer's length, in samples, is no
    estimate. `is_headerless`: such a file is known by its frames alone. `early_damage`: so many packets may fail
    before the first that can be decoded, as those do that need what stood before a file's beginning.
    """

    name: str
    demuxer: str
    media_type: str
    decoders: tuple[str, ...]
    matches: Callable[[bytes], bool]
    examine: Callable[[BinaryIO], Layout]
    may_follow_tag: bool = False
    has_length: bool = False
    is_headerless: bool = False
    early_damage: int = 0


_COMPANDED = ("pcm_alaw", "pcm_mulaw")
_BIG_ENDIAN = ("pcm_s8", "pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_f32be", "pcm_f64be")
_LITTLE_ENDIAN = ("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le")
_MP3 = ("mp3float", "mp3")
_WAV = (*_COMPANDED, *_MP3, "adpcm_ms", "adpcm_ima_wav", "gsm_ms")

FORMATS: Final[Mapping[Container, Format]] = {
    Container.WAV: Format("WAV", "wav", "audio/wav", _WAV, riff.matches, riff.examine),
    Container.W64: Format("W64", "w64", "audio/x-w64", _WAV, w64.matches, w64.examine),
    Container.AIFF: Format(
        "AIFF",
        "aiff",
        "audio/aiff",
        (*_BIG_ENDIAN, *_LITTLE_ENDIAN, *_COMPANDED, "adpcm_ima_qt"),
        aiff.matches,
        aiff.examine,
    ),
    Container.CAF: Format(
        "CAF",
        "caf",
        "audio/x-caf",
        ("aac", "alac", "opus", "flac", "adpcm_ima_qt", *_MP3, *_COMPANDED),
        caf.matches,
        caf.examine,
    ),
    Container.FLAC: Format(
        "FLAC", "flac", "audio/flac", ("flac",), flac.matches, flac.examine, may_follow_tag=True
    ),
    Container.OGG: Format(
        "Ogg", "ogg", "audio/ogg", ("vorbis", "opus", "flac"), ogg.matches, ogg.examine, has_length=True
    ),
    Container.M4A: Format(
        "M4A",
        "mov",
        "audio/mp4",
        (
            *("aac", "alac", "flac", "opus", "amrnb", "amrwb", "adpcm_ima_qt"),
            *(*_MP3, *_BIG_ENDIAN, *_LITTLE_ENDIAN, *_COMPANDED),
        ),
        mp4.matches,
        mp4.examine,
        has_length=True,
    ),
    Container.WEBM: Format(
        "WebM",
        "matroska",
        "audio/webm",
        ("opus", "vorbis", "aac", "flac", "alac", *_MP3, *_LITTLE_ENDIAN),
        webm.matches,
        webm.examine,
    ),
    Container.AMR: Format("AMR", "amr", "audio/amr", ("amrnb", "amrwb"), amr.matches, amr.examine),
    Container.MP3: Format(
        "MP3",
        "mp3",
        "audio/mpeg",
        _MP3,
        mp3_frames.matches,
        mp3_frames.examine,
        may_follow_tag=True,
        is_headerless=True,
        early_damage=3,
    ),
    Container.AAC: Format(
        "AAC",
        "aac",
        "audio/aac",
        ("aac",),
        adts.matches,
        adts.examine,
        may_follow_tag=True,
        is_headerless=True,
    ),
}

ACCEPTED: Final = (
    "WAV, AIFF, FLAC, MP3, Ogg (Vorbis, Opus), M4A and MP4, MOV, 3GP, WebM, AAC, CAF, W64 and AMR"
)
"""What a client may send, for people."""
