"""A multipart/form-data body with one file and a few text fields (RFC 7578), understood as it arrives.

No input or output here: bytes go in, the file's bytes and the fields come out.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from serve_app.http.problems import (
    BadRequest,
    FieldError,
    PayloadTooLarge,
    Unprocessable,
    UnsupportedMediaType,
)

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FILE_FIELD: Final = "file"
MAX_NAME_CHARS: Final = 255
_ESCAPES: Final = {"%22": '"', "%0D": "\r", "%0A": "\n"}
_TURNS: Final = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))
OVERHEAD_BYTES: Final = 64 * 1024  # boundaries and part headers


@dataclass(frozen=True, slots=True)
class FormLimits:
    """At most `file_bytes` in the file, `fields` other parts, `field_bytes` in each of those."""

    file_bytes: int
    fields: int
    field_bytes: int

    @property
    def body_bytes(self) -> int:
        """No body within the limits is longer."""
        return self.file_bytes + self.fields * self.field_bytes + OVERHEAD_BYTES


class Form:
    """What has been understood of the form so far; `feed` it the body, piece by piece, then `close` it.

    `pending` gathers the file's bytes until they are taken. Everything that is wrong with the form raises a
    Problem where it is met.
    """

    def __init__(self, content_type: str | None, limits: FormLimits) -> None:
        self._parser = self._new_parser(_boundary(content_type))
        self._limits = limits
        self.pending = bytearray()
        self.fields: dict[str, str] = {}
        self._has_file = False
        self.filename = ""
        self.content_type: str | None = None
        self._file_bytes = 0
        self._ended = False
        self._begin_part()

    def _new_parser(self, boundary: bytes) -> MultipartParser:
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": self._extend_header_name,
            "on_header_value": self._extend_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_content,
            "on_part_data": self._extend_content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        try:
            return MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise BadRequest("The boundary is too long.", code="malformed-form") from error

    def feed(self, data: bytes) -> None:
        """Read on. Raises BadRequest, PayloadTooLarge and Unprocessable."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadRequest("The form cannot be read.", code="malformed-form") from error

    def close(self) -> None:
        """Raises BadRequest if the form's end has not come."""
        if not self._ended:
            raise BadRequest("The body ends before the form does.", code="malformed-form")

    def take_pending(self) -> bytes:
        """The file's bytes that came since the last call."""
        data = bytes(self.pending)
        self.pending.clear()
        return data

    def require_file(self) -> None:
        """Raises Unprocessable if there was no file, or nothing in it."""
        if not self._has_file:
            raise _unprocessable(FILE_FIELD, "a file is required in a part of this name")
        if self._file_bytes == 0:
            raise _unprocessable(FILE_FIELD, "the file is empty")

    def _begin_part(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        self._part_name = ""
        self._text = bytearray()

    def _extend_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _extend_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if b"name" not in options:
            raise BadRequest("A part of the form has no name.", code="malformed-form")
        self._part_name = _text(options[b"name"])
        if self._part_name == FILE_FIELD:
            if self._has_file:
                raise _unprocessable(FILE_FIELD, "one file at a time")
            self._has_file = True
            self.filename = _bare_name(_text(options.get(b"filename", b"")))
            self.content_type = _text(self._headers.get(b"content-type", b"")) or None
        elif b"filename" in options:
            raise _unprocessable(self._part_name, "the file has to be in the part named `file`")
        elif self._part_name in self.fields:
            raise _unprocessable(self._part_name, "given twice")
        elif len(self.fields) == self._limits.fields:
            raise _unprocessable(self._part_name, f"a form has at most {self._limits.fields} fields")

    def _extend_content(self, data: bytes, start: int, end: int) -> None:
        if self._part_name == FILE_FIELD:
            self._file_bytes += end - start
            if self._file_bytes > self._limits.file_bytes:
                raise PayloadTooLarge(self._limits.file_bytes)
            self.pending += data[start:end]
        else:
            self._text += data[start:end]
            if len(self._text) > self._limits.field_bytes:
                raise _unprocessable(self._part_name, f"longer than {self._limits.field_bytes} bytes")

    def _end_part(self) -> None:
        if self._part_name != FILE_FIELD:
            try:
                self.fields[self._part_name] = self._text.decode()
            except UnicodeDecodeError as error:
                raise _unprocessable(self._part_name, "not UTF-8 text") from error

    def _end(self) -> None:
        self._ended = True


def _boundary(content_type: str | None) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind.strip() != b"multipart/form-data":
        raise UnsupportedMediaType("The body has to be multipart/form-data with a part named `file`.")
    if not options.get(b"boundary"):
        raise BadRequest("The Content-Type has no boundary.", code="malformed-form")
    return options[b"boundary"]


def _unprocessable(field: str, message: str) -> Unprocessable:
    field = field[:MAX_NAME_CHARS]
    return Unprocessable(f"{field}: {message}", errors=[FieldError(field, message)], code="invalid-form")


def _text(raw: bytes) -> str:
    """Header bytes as text: browsers send UTF-8, old clients Latin-1."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _bare_name(filename: str) -> str:
    """The name as its owner sees it: without the folders that some clients send along, without the escapes of
    browsers (HTML, "multipart/form-data encoding algorithm"), and without characters that act instead of showing.
    """
    for escape, character in _ESCAPES.items():
        filename = filename.replace(escape, character)
    name = unicodedata.normalize("NFC", filename.replace("\\", "/").rpartition("/")[2])
    shown = "".join(character for character in name if not _acts(character))
    return " ".join(shown.split())[:MAX_NAME_CHARS]


def _acts(character: str) -> bool:
    """Controls, halves of surrogate pairs, line separators, and what turns the direction of the text around it."""
    is_control = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    return (is_control and character not in "\r\n\t") or unicodedata.bidirectional(character) in _TURNS
