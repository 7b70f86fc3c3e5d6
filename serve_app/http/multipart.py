"""One uploaded file out of a multipart/form-data body (RFC 7578): to disk, never whole in memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from deployments.audio.decode.errors import DISK_FULL_ERRNOS
from serve_app.http.errors import ClientGone
from serve_app.http.form import Form, FormLimits
from serve_app.http.middleware import declared_length, lift_body_limit
from serve_app.http.problems import InsufficientStorage, PayloadTooLarge, Problem

PIECE_BYTES: Final = 64 * 1024  # parsed at a time, so that one large message does not hold up the event loop
WRITE_BYTES: Final = 256 * 1024  # gathered before a thread writes them
# Most clients look for an answer only when they have sent all, and lose it if the connection closes before.
DRAIN_BYTES: Final = 64 * 1024 * 1024
DRAIN_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class ReceivedUpload:
    """A file on disk that goes when the context ends, and the form's text fields.

    `filename` is the client's name for it, without folders; `content_type` is only what the client claims.
    """

    path: Path
    filename: str
    content_type: str | None
    size_bytes: int
    sha256: str
    fields: Mapping[str, str]


@asynccontextmanager
async def receive_upload(
    request: Request,
    *,
    max_bytes: int,
    spool_dir: Path,
    max_fields: int = 8,
    max_field_bytes: int = 64 * 1024,
) -> AsyncIterator[ReceivedUpload]:
    """Receive the part named `file`, of up to `max_bytes`, and up to `max_fields` small text fields.

    Raises PayloadTooLarge, UnsupportedMediaType (not a form), BadRequest (broken form), Unprocessable (no
    file, an empty one, several, bad fields), InsufficientStorage and ClientGone. A refusal before the body's end
    reads on, up to 64 MiB and 20 s, so that the client comes to read the answer, and closes the connection.
    """
    lift_body_limit(request.scope)
    with _Spool(spool_dir) as spool:
        limits = FormLimits(max_bytes, max_fields, max_field_bytes)
        try:
            async with aclosing(request.stream()) as body:
                try:
                    form = await _read(request.headers, body, spool, limits)
                except (Problem, OSError) as error:
                    problem = _problem_of(error)
                    if problem is None:
                        raise
                    problem.headers["Connection"] = "close"
                    # A client that waits for "100 Continue" has sent nothing yet, and now need not.
                    if "expect" not in request.headers:
                        await _drain(body)
                    if problem is error:
                        raise
                    raise problem from error
        except ClientDisconnect as error:
            raise ClientGone("in the middle of an upload") from error
        form.require_file()
        yield ReceivedUpload(
            path=spool.path,
            filename=form.filename,
            content_type=form.content_type,
            size_bytes=spool.size_bytes,
            sha256=spool.sha256,
            fields=form.fields,
        )


async def _read(
    headers: Headers, body: AsyncGenerator[bytes, None], spool: _Spool, limits: FormLimits
) -> Form:
    """Parse the whole body: the form is returned, the file's bytes go into `spool`."""
    if declared_length(headers) > limits.body_bytes:
        raise PayloadTooLarge(limits.file_bytes)
    form = Form(headers.get("content-type"), limits)
    body_bytes = 0
    async for message in body:
        body_bytes += len(message)
        if body_bytes > limits.body_bytes:
            raise PayloadTooLarge(limits.file_bytes)
        for offset in range(0, len(message), PIECE_BYTES):
            form.feed(message[offset : offset + PIECE_BYTES])
            if len(form.pending) >= WRITE_BYTES:
                await asyncio.to_thread(spool.write, form.take_pending())
    form.close()
    await asyncio.to_thread(spool.finish, form.take_pending())
    return form


def _problem_of(error: Problem | OSError) -> Problem | None:
    if isinstance(error, Problem):
        return error
    return InsufficientStorage() if error.errno in DISK_FULL_ERRNOS else None


async def _drain(body: AsyncGenerator[bytes, None]) -> None:
    """Read and forget what the client is still sending, up to a size and a time."""
    drained_bytes = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            async for message in body:
                drained_bytes += len(message)
                if drained_bytes >= DRAIN_BYTES:
                    return


class _Spool:
    """A temporary file with a running hash and size; removed on exit."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="upload-", dir=folder)
        self.path = Path(name)
        # Buffered files lock: closing one waits for a write that a cancelled request left in its thread.
        self._file = os.fdopen(handle, "wb")
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)
        with suppress(OSError):  # what is still to be written has no room, and is not wanted any more
            self._file.close()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self.size_bytes += len(data)

    def finish(self, data: bytes) -> None:
        """Write the last of it; others may read the file now."""
        self.write(data)
        self._file.close()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()
