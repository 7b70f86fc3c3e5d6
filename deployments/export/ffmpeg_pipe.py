"""ffmpeg fed through its standard input: a raw stream that never lies on disk, however long it is.

For threads, not for an event loop: `feed_ffmpeg` returns when ffmpeg has ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from deployments.export.ffmpeg import STDERR_TAIL_BYTES, FfmpegFailed, FfmpegMissing, FfmpegTimedOut
from deployments.stopping import Stop

Chunk = bytes | bytearray | memoryview

DEFAULT_TIMEOUT_S = 600.0
_READ_BYTES = 65_536


def feed_ffmpeg(
    arguments: Sequence[str],
    chunks: Iterable[Chunk],
    *,
    ffmpeg: Path,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    stop: Stop | None = None,
) -> None:
    """Run ffmpeg without a shell in a process group of its own, and write `chunks` to its standard input.

    A chunk may be changed as soon as the next one is asked for. An error out of `chunks` (so a caller cancels)
    kills the group and is raised again. `stop` kills it at once, also while it does not read. Nothing that ffmpeg
    started is left running.

    Raises Stopped, FfmpegMissing, FfmpegTimedOut, and FfmpegFailed, also where ffmpeg stops reading early.
    """
    try:
        process = subprocess.Popen(
            [str(ffmpeg), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise FfmpegMissing(f"{ffmpeg} cannot be started: {error.strerror}") from error
    assert process.stdin is not None  # noqa: S101  (both are piped above)
    assert process.stderr is not None  # noqa: S101
    tail: deque[bytes] = deque()
    drain = threading.Thread(target=_drain, args=(process.stderr, tail), daemon=True)
    timed_out = threading.Event()
    timer = threading.Timer(timeout_s, _time_out, (process, timed_out))
    drain.start()
    timer.start()
    stop = stop or Stop()
    try:
        with stop.calling(lambda: _kill(process)):
            read_all = _write(process.stdin, chunks)
            drain.join()  # while the time limit still holds: what ffmpeg started may outlive it
            exit_code = process.wait()
        stop.check()
    except BaseException:
        _kill(process)
        with suppress(OSError):
            process.stdin.close()
        process.wait()
        raise
    finally:
        timer.cancel()
        drain.join()
        process.stderr.close()
    if timed_out.is_set():
        raise FfmpegTimedOut(timeout_s)
    if exit_code != 0 or not read_all:
        raise FfmpegFailed(exit_code, b"".join(tail)[-STDERR_TAIL_BYTES:].decode(errors="replace").strip())


def _write(stdin: IO[bytes], chunks: Iterable[Chunk]) -> bool:
    """Write every chunk, then the end. False where ffmpeg closed the pipe first."""
    try:
        for chunk in chunks:
            stdin.write(chunk)
        stdin.close()
    except BrokenPipeError:
        with suppress(BrokenPipeError):
            stdin.close()
        return False
    return True


def _drain(stream: IO[bytes], tail: deque[bytes]) -> None:
    """Read to the end, keeping little more than the last STDERR_TAIL_BYTES."""
    kept = 0
    while chunk := os.read(stream.fileno(), _READ_BYTES):
        tail.append(chunk[-STDERR_TAIL_BYTES:])
        kept += len(tail[-1])
        while kept - len(tail[0]) >= STDERR_TAIL_BYTES:
            kept -= len(tail.popleft())


def _time_out(process: subprocess.Popen[bytes], timed_out: threading.Event) -> None:
    timed_out.set()
    _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    # The leader's pid names the group; until it has been waited for, no other process can have it.
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
