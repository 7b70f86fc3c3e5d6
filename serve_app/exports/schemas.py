"""What may be asked of an export."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field

from deployments.export.tags import MAX_TAG_CHARS
from serve_app.http.fields import ExportFormatName, Flag, Integer, Number, Request, Text, Title

_TagText = Annotated[Text, Field(max_length=MAX_TAG_CHARS)]


def _bitrate(value: object) -> object:
    """`320`, `"320"` and `"320K"` are all `320k`."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    lower = value.strip().lower()
    return f"{lower}k" if lower.isdigit() else lower


class NewTags(Request):
    """What the file says of itself. `bpm` and `key` are those of the analysis where they are left out."""

    artist: _TagText = ""
    album: _TagText = ""
    comment: _TagText = ""
    date: Annotated[Text, Field(max_length=40, examples=["2026"])] = ""
    genre: _TagText = ""
    key: Annotated[Text, Field(max_length=40, examples=["F# minor"])] = ""
    bpm: Annotated[Number | None, Field(ge=1, le=1000)] = None


class NewExport(Request):
    """The line from the root to the end of the spine, or to `node_id`, as one file."""

    model_config = ConfigDict(populate_by_name=True)

    format: Annotated[ExportFormatName, Field(examples=["wav"])]
    node_id: Annotated[Text | None, Field(max_length=200, description="the line's last node")] = None
    start: Annotated[
        Number | Text | None,
        Field(alias="from", description="seconds in the line, or a node of it: from where it begins"),
    ] = None
    end: Annotated[
        Number | Text | None,
        Field(alias="to", description="seconds in the line, or a node of it: to where it ends"),
    ] = None
    sample_rate_hz: Annotated[
        Integer | None,
        Field(ge=8000, le=192_000, description="the chain's own; the next that the format has"),
    ] = None
    bit_depth: Annotated[
        Integer | None, Field(description="wav: 16, 24 (default) or 32 for float; flac, aiff: 16 or 24")
    ] = None
    bitrate: Annotated[
        str | None,
        BeforeValidator(_bitrate),
        Field(max_length=20, description="mp3: 320k or v0; opus, m4a: as `GET /v1/config` lists"),
    ] = None
    loudness_lufs: Annotated[Number | None, Field(description="integrated, ITU-R BS.1770")] = None
    true_peak_dbtp: Annotated[Number | None, Field(description="the ceiling, of the decoded file too")] = None
    fade_in_s: Annotated[Number, Field(ge=0)] = 0.0
    fade_out_s: Annotated[Number, Field(ge=0)] = 0.0
    tail_s: Annotated[Number, Field(ge=0, description="silence at the end")] = 0.0
    mix: Annotated[
        dict[Text, Number] | None,
        Field(max_length=32, description="stems and their gains in dB; those left out are silent"),
    ] = None
    title: Title | None = None
    tags: NewTags = NewTags()
    cover: Annotated[
        Text | None, Field(description="a PNG, JPEG or WebP as a data: URL (data:image/png;base64,…)")
    ] = None
    picture: Annotated[Text | None, Field(max_length=40, description="mp4: waveform or spectrogram")] = None
    size: Annotated[Text | None, Field(max_length=40, examples=["1920x1080"])] = None
    fps: Annotated[Integer | None, Field(description="mp4: frames a second (30)")] = None
    loop: Annotated[Flag, Field(description="mp4: without sound, to be repeated")] = False
