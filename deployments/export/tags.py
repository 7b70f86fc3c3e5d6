"""What a file says about itself: the tags that each kind of file can hold, and its cover.

Every file carries the licence, the seed and the ids of what it was made of: as tags of their own where the
format has free names, else as JSON in its comment.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path

from deployments.export.media_errors import WrongValue

MAX_TAG_CHARS = 2_000
MAX_COMMENT_CHARS = 100_000
"""All of one program argument must be under 128 KiB in bytes; a comment that would not fit is refused."""

_MAX_ARGUMENT_BYTES = 120_000
# C0 and C1 controls but tab and newline. NUL cannot be passed to a program at all.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TONIC = re.compile(r"\s*([A-Ga-g])\s*([#♯b♭]?)\s*(.*)")


class TagStyle(StrEnum):
    NONE = "none"
    RIFF_INFO = "riff_info"
    ID3 = "id3"
    VORBIS = "vorbis"
    ITUNES = "itunes"


@dataclass(frozen=True, slots=True)
class Tags:
    """Empty ones are left out. `key` is as in an analysis (`F# minor`). `provenance` has lower-case names:
    seed, chain, nodes, model and the like.

    Any text will do: control characters and lone surrogates go, newlines stay, each is cut at MAX_TAG_CHARS.
    Raises WrongValue for a tempo that is none, for other names, and where all together is more than a comment
    can hold.
    """

    title: str = ""
    artist: str = ""
    album: str = ""
    comment: str = ""
    date: str = ""
    genre: str = ""
    licence: str = ""
    key: str = ""
    bpm: float | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for tag in fields(self):
            value = getattr(self, tag.name)
            if isinstance(value, str):
                object.__setattr__(self, tag.name, _clean(value))
        for name in self.provenance:
            if not _NAME.fullmatch(name):
                raise WrongValue(f"A tag's name is lower-case letters, digits and _, not {name[:40]!r}.")
        object.__setattr__(self, "provenance", {name: _clean(text) for name, text in self.provenance.items()})
        if self.bpm is not None and not 1.0 <= self.bpm <= 1000.0:
            raise WrongValue("A tempo is 1 to 1000 beats a minute.")
        if len(self.as_json().encode()) > _MAX_ARGUMENT_BYTES:
            raise WrongValue("The tags are longer than a file can hold.")

    def as_json(self) -> str:
        """All that has no place of its own in every format, compact, its names sorted."""
        said: dict[str, str | float] = dict(self.provenance)
        said |= {name: text for name in ("comment", "licence", "key") if (text := getattr(self, name))}
        if self.bpm is not None:
            said["bpm"] = round(self.bpm, 3)
        return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if said else ""


def tag_arguments(tags: Tags, style: TagStyle) -> list[str]:
    """ffmpeg's `-metadata` arguments for a kind of file."""
    named = _named(tags, style)
    return [argument for name, text in named.items() if text for argument in ("-metadata", f"{name}={text}")]


def _named(tags: Tags, style: TagStyle) -> dict[str, str]:
    if style is TagStyle.NONE:
        return {}
    common = {name: getattr(tags, name) for name in ("title", "artist", "album", "date", "genre")}
    common["copyright"] = tags.licence
    whole_bpm = "" if tags.bpm is None else str(round(tags.bpm))
    exact_bpm = "" if tags.bpm is None else f"{tags.bpm:.3f}".rstrip("0").rstrip(".")
    own = {f"segue_{name}": text for name, text in tags.provenance.items()}
    match style:
        case TagStyle.ID3:
            return common | {"TBPM": whole_bpm, "TKEY": id3_key(tags.key), "comment": tags.comment} | own
        case TagStyle.VORBIS:
            vorbis = {"BPM": exact_bpm, "KEY": tags.key, "LICENSE": tags.licence, "comment": tags.comment}
            return common | vorbis | own
        case TagStyle.ITUNES:
            return common | {"tmpo": whole_bpm, "comment": tags.as_json()}
        case _:
            return common | {"comment": tags.as_json()}


def id3_key(key: str) -> str:
    """`F# minor` as ID3 writes it: `F#m`, at most three characters. Empty for what is no key."""
    found = _TONIC.fullmatch(key)
    if found is None:
        return ""
    tonic, accidental, mode = found.groups()
    if mode and not mode.lower().startswith(("maj", "min", "m")):
        return ""
    minor = "m" if mode and not mode.lower().startswith("maj") else ""
    return tonic.upper() + {"♯": "#", "♭": "b"}.get(accidental, accidental) + minor


def write_cover(jpeg: bytes, width: int, height: int, folder: Path, *, as_comment: bool) -> Path:
    """The cover as a file for `encode_arguments`: the JPEG itself, or a Vorbis comment that holds it."""
    if not as_comment:
        path = folder / "cover.jpg"
        path.write_bytes(jpeg)
        return path
    mime = b"image/jpeg"
    block = struct.pack(">II", 3, len(mime)) + mime  # 3: the front cover
    block += struct.pack(">IIIIII", 0, width, height, 24, 0, len(jpeg)) + jpeg
    path = folder / "cover.ffmetadata"
    encoded = base64.b64encode(block).decode().replace("=", "\\=")
    path.write_text(f";FFMETADATA1\nMETADATA_BLOCK_PICTURE={encoded}\n")
    return path


def _clean(text: str) -> str:
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", unified))[:MAX_TAG_CHARS].strip()
