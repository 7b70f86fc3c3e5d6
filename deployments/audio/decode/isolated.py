"""Decode an upload in a process of its own that cannot do much, and that is gone afterwards whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from deployments.audio.decode.errors import (
    AudioError,
    BadAudio,
    BadAudioCode,
    DecoderBroken,
    UnsupportedMedia,
    error_from_json,
)
from deployments.audio.decode.limits import DecodeLimits
from deployments.audio.decode.sniff import Container, sniff, what_it_is
from deployments.audio.decode.worker import Task
from deployments.process_group import process_group

__all__ = [
    "AudioError",
    "BadAudio",
    "BadAudioCode",
    "DecodeLimits",
    "DecodedAudio",
    "DecoderBroken",
    "UnsupportedMedia",
    "decode_file",
]

_BOOTSTRAP = (
    "import sys; sys.path += sys.argv[2:]; "
    "from deployments.audio.decode.worker import main; main(sys.argv[1])"
)
_ANSWER_BYTES = 4096
"""A pipe takes so much in one piece, and no answer is longer."""

_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """A float32 WAV at `path`, as `decode_wav` reads it, and what it holds; `samples` is per channel.

    `codec` is how the upload was coded, in libavcodec's words (pcm_s16le, mp3, aac, ...).
    """

    path: Path
    sha256: str
    size_bytes: int
    samples: int
    rate_hz: int
    channels: int
    rms_dbfs: float
    peak_dbfs: float
    container: Container
    codec: str


async def decode_file(source: Path, target: Path, limits: DecodeLimits) -> DecodedAudio:
    """Decode the file at `source` into a float32 WAV at `target`, at its own rate and channels.

    Raises UnsupportedMedia for a format that is not read, BadAudio for damaged files and those outside `limits`,
    DecoderBroken if the decoder cannot run, DiskFull if there is no room for the target. After an error, and when
    the task is cancelled, the process has been killed and there is nothing at `target`.
    """
    task = await asyncio.to_thread(_task, source, target, limits)
    with _removed_after_an_error(task.target):
        try:
            async with asyncio.timeout(limits.timeout_s):
                answer, status = await _run_worker(task)
        except TimeoutError as error:
            raise limits.too_slow() from error
        return _read_answer(answer, status, task)


def _task(source: Path, target: Path, limits: DecodeLimits) -> Task:
    with source.open("rb") as file:
        container = sniff(file)
        if container is None:
            raise UnsupportedMedia(what_it_is(file))
    return Task(source.absolute(), target.absolute(), container, limits)


@contextlib.contextmanager
def _removed_after_an_error(target: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        target.unlink(missing_ok=True)
        raise


async def _run_worker(task: Task) -> tuple[bytes, int]:
    """The line that the worker printed and its exit status."""
    program = (sys.executable, "-I", "-S", "-c", _BOOTSTRAP, task.to_json(), *_import_paths())
    async with process_group(*program, stdout=PIPE, stderr=DEVNULL, cwd="/", env=_ENVIRONMENT) as process:
        reader = cast(asyncio.StreamReader, process.stdout)
        answer = await reader.read(_ANSWER_BYTES)
        return answer, await process.wait()


@cache
def _import_paths() -> tuple[str, ...]:
    """Where the worker finds this package and the decoders: `site` does not run in it."""
    paths: dict[str, None] = {}
    for package in (__name__.partition(".")[0], "numpy", "av"):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise DecoderBroken(f"the package {package} is not installed")
        paths[str(Path(spec.origin).parent.parent)] = None
    return tuple(paths)


def _read_answer(answer: bytes, status: int, task: Task) -> DecodedAudio:
    try:
        fields = json.loads(answer)
        if "error" not in fields:
            return DecodedAudio(path=task.target, container=task.container, **fields["decoded"])
        error = error_from_json(fields["error"])
    except (ValueError, KeyError, TypeError) as unreadable:
        raise _without_answer(status, task.limits) from unreadable
    raise error


def _without_answer(status: int, limits: DecodeLimits) -> AudioError:
    match -status:
        case signal.SIGXCPU | signal.SIGALRM:
            return limits.too_slow()
        case signal.SIGKILL:  # by the kernel, out of memory
            return limits.too_much_memory()
        case crash if crash > 0:
            return BadAudio(BadAudioCode.CORRUPT, "the file is damaged: the decoder crashed on it")
        case _:
            return DecoderBroken(f"the decoder ended without an answer (status {status})")
