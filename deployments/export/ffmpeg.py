"""The one place that runs ffmpeg: found once, run with a time limit, never left behind.

What to encode is `plan`'s business.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg

from deployments.process_group import process_group

STDERR_TAIL_BYTES = 4096
_READ_BYTES = 65_536


class ExportError(Exception):
    """An export could not be encoded.

    ExportError
    ├── FfmpegMissing    there is no ffmpeg here, or it cannot be started
    ├── FfmpegFailed     it ended with an error
    ├── FfmpegTimedOut   it was killed at its time limit
    └── SigningFailed    (in `c2pa`) it is there, and could not be signed
    """


class FfmpegMissing(ExportError):
    pass


class FfmpegFailed(ExportError):
    """`stderr_tail` is for logs: it may name files of this machine, so it is not shown to clients."""

    def __init__(self, exit_code: int, stderr_tail: str) -> None:
        super().__init__(f"ffmpeg ended with {exit_code}: {stderr_tail or 'no message'}")
        self.exit_code = exit_code
        self.stderr_tail = stderr_tail


class FfmpegTimedOut(ExportError):
    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"ffmpeg was not done after {timeout_s:g} s and was killed")
        self.timeout_s = timeout_s


def find_ffmpeg(configured: str | None = None) -> Path:
    """The ffmpeg to use: the configured one, else `ffmpeg` on PATH, else the one that imageio-ffmpeg bundles.

    `configured` is a path or a name on PATH. Where it is given, nothing else will do. Raises FfmpegMissing.
    """
    if configured is not None:
        found = shutil.which(Path(configured).expanduser())
        if found is None:
            raise FfmpegMissing(f"the configured ffmpeg is not a program that can be run: {configured}")
        return Path(found)
    on_path = shutil.which("ffmpeg")
    if on_path is not None:
        return Path(on_path)
    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise FfmpegMissing(
            "no ffmpeg: none is configured (export.ffmpeg_path), none is on PATH, and imageio-ffmpeg has none"
        ) from error


async def run_ffmpeg(arguments: Sequence[str], *, ffmpeg: Path, timeout_s: float) -> None:
    """Run ffmpeg to its end. On the time limit, and when cancelled, its whole process group is killed first.

    `arguments` are without the program's name. Output files are the caller's: after an error they may be
    there, half written. Raises FfmpegMissing, FfmpegFailed, FfmpegTimedOut; OSError where the disk is full.
    """
    program = (str(ffmpeg), *arguments)
    try:
        async with (
            asyncio.timeout(timeout_s),
            process_group(*program, stdout=DEVNULL, stderr=PIPE) as process,
        ):
            stderr_tail = await _tail(process.stderr)
            exit_code = await process.wait()
    except TimeoutError as error:
        raise FfmpegTimedOut(timeout_s) from error
    except OSError as error:
        raise FfmpegMissing(f"{ffmpeg} cannot be started: {error.strerror}") from error
    if exit_code != 0 and os.strerror(errno.ENOSPC) in stderr_tail:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if exit_code != 0:
        raise FfmpegFailed(exit_code, stderr_tail)


async def _tail(stream: asyncio.StreamReader | None) -> str:
    """Read to the end, remembering the last STDERR_TAIL_BYTES, so that a chatty ffmpeg costs no memory."""
    assert stream is not None  # noqa: S101  (stderr is always piped above)
    tail = b""
    while chunk := await stream.read(_READ_BYTES):
        tail = (tail + chunk)[-STDERR_TAIL_BYTES:]
    return tail.decode(errors="replace").strip()
