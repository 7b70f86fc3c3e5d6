from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import pytest

from deployments.export.ffmpeg import (
    STDERR_TAIL_BYTES,
    ExportError,
    FfmpegFailed,
    FfmpegMissing,
    FfmpegTimedOut,
    find_ffmpeg,
    run_ffmpeg,
)
from tests.support.patience import PATIENCE_S

# It starts a child of its own and tells both pids, as a wrapper around a hanging program would.
SLOW = 'sleep 60 & echo "$$ $!" > "$1.new"; mv "$1.new" "$1"; wait'


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def is_running(pid: int) -> bool:
    """Whether the process still does anything: a zombie that nobody has collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def pids_in(path: Path) -> list[int]:
    await asyncio.to_thread(eventually, path.exists)
    return [int(pid) for pid in (await asyncio.to_thread(path.read_text)).split()]


async def all_ended(pids: list[int]) -> None:
    await asyncio.to_thread(eventually, lambda: not any(is_running(pid) for pid in pids))


class TestFind:
    def test_the_configured_path_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        mine = script(tmp_path / "my-ffmpeg", "exit 0")
        (tmp_path / "bin").mkdir()
        script(tmp_path / "bin" / "ffmpeg", "exit 0")
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        assert find_ffmpeg(str(mine)) == mine

    def test_then_the_one_on_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        on_path = script(tmp_path / "ffmpeg", "exit 0")
        monkeypatch.setenv("PATH", str(tmp_path))
        assert find_ffmpeg(None) == on_path

    def test_then_the_bundled_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert find_ffmpeg(None) == Path(imageio_ffmpeg.get_ffmpeg_exe())

    @pytest.mark.parametrize("executable", [False, True])
    def test_a_configured_one_that_cannot_run_is_an_error_that_names_it(
        self, tmp_path: Path, executable: bool
    ) -> None:
        path = tmp_path / "not-a-program"
        path.mkdir() if executable else path.write_text("")
        with pytest.raises(FfmpegMissing, match="not-a-program"):
            find_ffmpeg(str(path))

    def test_no_ffmpeg_anywhere_says_where_it_looked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nothing() -> str:
            raise RuntimeError("No ffmpeg exe could be found.")

        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", nothing)
        with pytest.raises(FfmpegMissing, match=r"export\.ffmpeg_path"):
            find_ffmpeg(None)


class TestRun:
    async def test_success_passes_the_arguments_as_they_are(self, tmp_path: Path) -> None:
        fake = script(tmp_path / "ffmpeg", 'out=$1; shift; printf "%s|" "$@" > "$out"')
        out = tmp_path / "out"
        await run_ffmpeg([str(out), "a b", "$HOME", "; rm x", ""], ffmpeg=fake, timeout_s=10)
        assert out.read_text() == "a b|$HOME|; rm x||"

    async def test_stdin_is_closed(self, tmp_path: Path) -> None:
        fake = script(tmp_path / "ffmpeg", 'cat > "$1"')
        await run_ffmpeg([str(tmp_path / "out")], ffmpeg=fake, timeout_s=10)
        assert (tmp_path / "out").read_bytes() == b""

    async def test_a_failing_run_gives_exit_code_and_the_end_of_stderr(self, tmp_path: Path) -> None:
        fake = script(
            tmp_path / "ffmpeg",
            'i=0; while [ $i -lt 3000 ]; do echo "line $i of noise" >&2; i=$((i+1)); done\n'
            "echo 'Conversion failed!' >&2; exit 69",
        )
        with pytest.raises(FfmpegFailed) as caught:
            await run_ffmpeg([], ffmpeg=fake, timeout_s=30)
        assert caught.value.exit_code == 69
        assert caught.value.stderr_tail.endswith("line 2999 of noise\nConversion failed!")
        assert len(caught.value.stderr_tail) <= STDERR_TAIL_BYTES
        assert isinstance(caught.value, ExportError)

    async def test_the_real_ffmpeg_says_what_is_wrong(self, tmp_path: Path) -> None:
        arguments = ["-i", str(tmp_path / "missing.wav"), "-f", "null", "-"]
        with pytest.raises(FfmpegFailed, match="No such file or directory"):
            await run_ffmpeg(arguments, ffmpeg=find_ffmpeg(), timeout_s=30)

    async def test_a_program_that_cannot_start_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FfmpegMissing, match="no-such-ffmpeg"):
            await run_ffmpeg([], ffmpeg=tmp_path / "no-such-ffmpeg", timeout_s=10)

    async def test_the_time_limit_kills_the_whole_group(self, tmp_path: Path) -> None:
        fake, pids = script(tmp_path / "ffmpeg", SLOW), tmp_path / "pids"
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(FfmpegTimedOut, match=r"after 3 s") as caught:
                await run_ffmpeg([str(pids)], ffmpeg=fake, timeout_s=3.0)
        assert isinstance(caught.value, ExportError)
        started = await pids_in(pids)
        assert len(started) == 2
        await all_ended(started)

    async def test_cancelling_kills_the_whole_group(self, tmp_path: Path) -> None:
        fake, pids = script(tmp_path / "ffmpeg", SLOW), tmp_path / "pids"
        running = asyncio.create_task(run_ffmpeg([str(pids)], ffmpeg=fake, timeout_s=60))
        started = await pids_in(pids)
        assert all(is_running(pid) for pid in started)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await all_ended(started)

    async def test_cancelling_while_it_starts_kills_the_whole_group(self, tmp_path: Path) -> None:
        fake, pids = script(tmp_path / "ffmpeg", SLOW), tmp_path / "pids"
        running = asyncio.create_task(run_ffmpeg([str(pids)], ffmpeg=fake, timeout_s=60))
        for _ in range(2):
            await asyncio.sleep(0)
        eventually(pids.exists)  # holds the event loop up, so asyncio is not yet connected to the process
        running.cancel()
        await asyncio.wait([running], timeout=PATIENCE_S)
        assert running.cancelled()
        await all_ended(await pids_in(pids))

    async def test_a_child_that_outlives_its_parent_is_killed_too(self, tmp_path: Path) -> None:
        fake = script(tmp_path / "ffmpeg", 'sleep 60 & echo "$!" > "$1.new"; mv "$1.new" "$1"')
        with pytest.raises(FfmpegTimedOut):
            await run_ffmpeg([str(tmp_path / "pids")], ffmpeg=fake, timeout_s=3.0)
        await all_ended(await pids_in(tmp_path / "pids"))

    async def test_it_runs_in_a_group_of_its_own(self, tmp_path: Path) -> None:
        fake = script(tmp_path / "ffmpeg", 'cut -d" " -f5 /proc/$$/stat > "$1"')
        await run_ffmpeg([str(tmp_path / "group")], ffmpeg=fake, timeout_s=10)
        assert int((tmp_path / "group").read_text()) != os.getpgrp()
