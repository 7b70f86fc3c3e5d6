"""Which container a file is, by its content alone: names and declared types of uploads are not believed."""

from __future__ import annotations

from typing import BinaryIO

from deployments.audio.decode.containers.frames import HEAD_BYTES
from deployments.audio.decode.formats import ACCEPTED, FORMATS, Container
from deployments.audio.decode.tags import skip_id3v2

__all__ = ["Container", "sniff", "what_it_is"]

_OTHERS: dict[bytes, str] = {
    b"MThd": "a MIDI file: it has notes, and no sound",
    bytes.fromhex("3026b2758e66cf11"): "a Windows Media file, which is not read here",
    b"FORM": "an IFF file without audio",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"FLV": "a Flash video, which is not read here",
    b"RIFF": "a RIFF file without audio, or a video",
    b"#EXTM3U": "a playlist: it has the names of files, and no sound",
    b"\x7fELF": "a program",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
}
"""First bytes of what is often sent by mistake, and of what could hold frames of MP3 by chance or in part."""


def sniff(file: BinaryIO) -> Container | None:
    """The container of a seekable binary file, which is left at an unspecified position; None for what is not
    read here (text, playlists, other media).

    An ID3v2 tag in front is skipped, for MP3 often and FLAC sometimes has one.
    """
    start = skip_id3v2(file)
    file.seek(start)
    head = file.read(HEAD_BYTES)
    other = _other(head)
    for container, known in FORMATS.items():
        is_out = (start and not known.may_follow_tag) or (known.is_headerless and other is not None)
        if not is_out and known.matches(head):
            return container
    return None


def what_it_is(file: BinaryIO) -> str:
    """A sentence about a file that is not read."""
    file.seek(0)
    other = _other(file.read(HEAD_BYTES))
    said = f"this is {other}" if other is not None else "this is in no audio format that is read here"
    return f"{said}; send {ACCEPTED}"


def _other(head: bytes) -> str | None:
    return next((said for magic, said in _OTHERS.items() if head.startswith(magic)), None)
