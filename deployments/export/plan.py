"""What an export is: which audio, and what is made of it. Pure: values in, a hash out.

Two plans with the same hash give the same file, so an export that was asked for twice is made once. Hence
nothing that differs from run to run (times, version strings, threads) may get into a file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from deployments.export.formats import MAX_RATE_HZ, AudioEncoding, Format, Kind, format_named
from deployments.export.mastering import (
    CEILINGS_DBTP,
    LOSSLESS_CEILING_DBTP,
    LOSSY_CEILING_DBTP,
    LOUDNESS_TARGETS_LUFS,
)
from deployments.export.media_errors import WrongOption, WrongValue
from deployments.export.shaping import MAX_TAIL_S
from deployments.export.tags import Tags
from deployments.export.waveform_frames import DEFAULT_FPS, PRESETS, View

STEM_GAINS_DB = (-80.0, 12.0)
MAX_ATTENUATION_DB = 800.0
"""More than float32 is above full scale."""
MAX_EXPORT_FPS = 60

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How a video looks. `size` is one of `PRESETS`; `loop`: a silent clip that repeats without a seam."""

    picture: str = View.WAVEFORM.value
    size: str = next(iter(PRESETS))
    fps: int = DEFAULT_FPS
    loop: bool = False
    title: str = ""

    def __post_init__(self) -> None:
        _require_among("picture", self.picture, [view.value for view in View])
        _require_among("size", self.size, PRESETS)
        _require_within("fps", self.fps, 1, MAX_EXPORT_FPS)


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How a line becomes a file.

    `rate_hz` and `channels` are the file's. `start` and `end` are samples of the line at its own rate (None: its
    end). `mix` names stems and their gains in dB; None: the line as it is. `gain_db` is 0 or less. What is None
    becomes the format's default. Raises WrongOption for what does not go with the format.
    """

    format: str
    rate_hz: int
    channels: int
    bit_depth: int | None = None
    bitrate: str | None = None
    start: int = 0
    end: int | None = None
    gain_db: float = 0.0
    fade_in_s: float = 0.0
    fade_out_s: float = 0.0
    tail_s: float = 0.0
    loudness_lufs: float | None = None
    true_peak_dbtp: float | None = None
    mix: tuple[tuple[str, float], ...] | None = None
    tags: Tags | None = None
    video: VideoOptions | None = None

    def __post_init__(self) -> None:
        form = self.form
        if form.kind is Kind.AUDIO:
            encoding = AudioEncoding(form, self.rate_hz, self.channels, self.bit_depth, self.bitrate)
            object.__setattr__(self, "bit_depth", encoding.bit_depth)
            object.__setattr__(self, "bitrate", encoding.quality)
        else:
            for name in ("bit_depth", "bitrate"):
                if getattr(self, name) is not None:
                    raise WrongOption(name, f"{form.title} has no {name.replace('_', ' ')} to choose.")
            _require_within("sample_rate_hz", self.rate_hz, 1, MAX_RATE_HZ)
        if form.kind is Kind.VIDEO and self.video is None:
            object.__setattr__(self, "video", VideoOptions())
        if form.kind is not Kind.VIDEO and self.video is not None:
            raise WrongOption("picture", f"{form.title} has no picture.")
        self._check_sound(form)

    def _check_sound(self, form: Format) -> None:
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise WrongOption("from", "The region is empty: it ends where it begins, or before.")
        if not -MAX_ATTENUATION_DB <= self.gain_db <= 0.0:
            raise WrongValue(f"A gain is -{MAX_ATTENUATION_DB:g} to 0 dB, not {self.gain_db}.")
        for name in ("fade_in_s", "fade_out_s"):
            _require_within(name, getattr(self, name), 0.0, math.inf)
        _require_within("tail_s", self.tail_s, 0.0, MAX_TAIL_S)
        if self.loudness_lufs is not None:
            _require_within("loudness_lufs", self.loudness_lufs, *LOUDNESS_TARGETS_LUFS)
        if self.true_peak_dbtp is not None:
            _require_within("true_peak_dbtp", self.true_peak_dbtp, *CEILINGS_DBTP)
        for stem, gain_db in self.mix or ():
            _require_within(f"mix.{stem[:40]}", gain_db, *STEM_GAINS_DB)
        if self.mix == ():
            raise WrongOption("mix", "The mix names no stem.")
        changes = {
            "loudness_lufs": self.loudness_lufs,
            "true_peak_dbtp": self.true_peak_dbtp,
            "fade_in_s": self.fade_in_s or None,
            "fade_out_s": self.fade_out_s or None,
            "tail_s": self.tail_s or None,
            "mix": self.mix,
        }
        if form.kind is Kind.PACKAGE:
            for name, value in changes.items():
                if value is not None:
                    raise WrongOption(name, "A DAW package holds the line and its stems as they are.")
        if self.video is not None and self.video.loop:
            for name in ("loudness_lufs", "true_peak_dbtp"):
                if changes[name] is not None:
                    raise WrongOption(name, "A loop clip is silent.")

    @property
    def form(self) -> Format:
        return format_named(self.format)

    @property
    def is_mastered(self) -> bool:
        """Whether loudness or true peaks are brought somewhere."""
        return self.loudness_lufs is not None or self.true_peak_dbtp is not None

    @property
    def ceiling_dbtp(self) -> float:
        if self.true_peak_dbtp is not None:
            return self.true_peak_dbtp
        return LOSSLESS_CEILING_DBTP if self.form.lossless else LOSSY_CEILING_DBTP

    def to_record(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> ExportOptions:
        mix, tags, video = record["mix"], record["tags"], record["video"]
        return ExportOptions(
            **{
                **record,
                "mix": None if mix is None else tuple((str(stem), float(gain_db)) for stem, gain_db in mix),
                "tags": None if tags is None else Tags(**tags),
                "video": None if video is None else VideoOptions(**video),
            }
        )


@dataclass(frozen=True, slots=True)
class ExportPiece:
    """One node's audio in the line, named by its content: the SHA-256 of its blob, and of its lead-in's. `stems`
    are those of its stems, by name."""

    sha256: str
    samples: int
    sample_rate_hz: int
    channels: int
    lead_in_sha256: str | None = None
    stems: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for digest in (self.sha256, self.lead_in_sha256, *(stem for _, stem in self.stems)):
            if digest is not None and not _SHA256.fullmatch(digest):
                raise ValueError(f"not a SHA-256 in lower-case hex: {digest!r}")
        if self.samples < 1 or self.sample_rate_hz < 1 or self.channels < 1:
            raise ValueError("a piece has at least one sample, one channel and a rate")


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """A whole export: the line's pieces in order, what is made of them, and which renderer joins them.

    `more` is what else gets into the file: names, and the SHA-256 of a cover, documents, takes.
    `renderer_version` counts up whenever the code that renders or encodes changes what is heard.
    """

    pieces: tuple[ExportPiece, ...]
    options: ExportOptions
    renderer_version: int
    more: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.pieces:
            raise ValueError("an export has at least one piece")

    def hash(self) -> str:
        """SHA-256 in hex of the plan as canonical JSON: in any process equal for equal plans, and only then."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def download_options(format_name: str, rate_hz: int, channels: int, gain_db: float = 0.0) -> ExportOptions:
    """A bare audio file of a signal at `rate_hz`, at the next rate that the format knows."""
    options = ExportOptions(format_name, format_named(format_name).rate_for(rate_hz), channels)
    return replace(options, gain_db=gain_db)


def _require_among(field: str, value: str, known: Any) -> None:
    if value not in known:
        raise WrongOption(field, f"{field} is {', '.join(known)}, not {value[:20]!r}.")


def _require_within(field: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most or math.isinf(value):
        raise WrongOption(field, f"{field} is {least:g} to {most:g}, not {value:g}.")
