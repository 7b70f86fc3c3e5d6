"""The decoder's own process: what it gives, how it is held, and that nothing of it stays."""

import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.audio.decode import isolated as decode
from deployments.audio.decode.errors import DiskFull
from deployments.audio.decode.isolated import (
    BadAudio,
    BadAudioCode,
    DecoderBroken,
    UnsupportedMedia,
    decode_file,
)
from deployments.audio.decode.sniff import Container
from deployments.audio.levels import rms_dbfs
from deployments.audio.wav import decode_wav, encode_wav
from tests.deployments.audio.decode.files import SIX_FORMATS, encoded, tones
from tests.deployments.audio.decode.test_decoder import LIMITS
from tests.support.patience import PATIENCE_S


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.subprocess.Process]:
    """Every process that was started."""
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def remembering(*args: Any, **options: Any) -> asyncio.subprocess.Process:
        started.append(await start(*args, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remembering)
    return started


def _is_gone(process: asyncio.subprocess.Process) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.002)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _upload(folder: Path, data: bytes, name: str = "upload") -> tuple[Path, Path]:
    source = folder / name
    source.write_bytes(data)
    return source, folder / "decoded.wav"


@pytest.mark.parametrize("extension", SIX_FORMATS)
async def test_each_format_is_decoded(tmp_path: Path, extension: str) -> None:
    original = tones(44_100)
    source, target = _upload(tmp_path, encoded(original, 44100, extension))
    decoded = await decode_file(source, target, LIMITS)
    samples, rate_hz = decode_wav(target.read_bytes())
    assert decoded.path == target
    assert decoded.container is Container(extension)
    assert (decoded.samples, decoded.channels, decoded.rate_hz) == (44_100, 2, rate_hz)
    assert decoded.size_bytes == target.stat().st_size
    assert rms_dbfs((samples - original)[:, 1000:-1000]) < rms_dbfs(original) - 15


async def test_the_name_of_a_file_means_nothing(tmp_path: Path) -> None:
    source, target = _upload(tmp_path, encoded(tones(44_100), 44100, "flac"), "http:a|b ünï %20 concat.m3u8")
    assert (await decode_file(source, target, LIMITS)).container is Container.FLAC


async def test_text_named_wav_is_unsupported_and_starts_no_process(
    tmp_path: Path, processes: list[asyncio.subprocess.Process]
) -> None:
    source, target = _upload(tmp_path, b"text, not audio", "song.wav")
    with pytest.raises(UnsupportedMedia, match="no audio format that is read here; send WAV, AIFF"):
        await decode_file(source, target, LIMITS)
    assert not processes


async def test_a_refusal_arrives_whole_and_leaves_nothing(tmp_path: Path) -> None:
    samples = tones(100_000)
    samples[0, 90_000] = np.nan
    source, target = _upload(tmp_path, encode_wav(samples, 44100))
    with pytest.raises(BadAudio, match="finite") as caught:
        await decode_file(source, target, LIMITS)
    assert caught.value.code is BadAudioCode.NOT_FINITE
    assert _files(tmp_path) == [source]


async def test_an_unsupported_codec_arrives_as_unsupported(tmp_path: Path) -> None:
    source, target = _upload(tmp_path, encoded(tones(44_100, channels=1), 44100, "wav", "G721_32"))
    with pytest.raises(UnsupportedMedia, match="this WAV file is coded in a way that is not read here"):
        await decode_file(source, target, LIMITS)
    assert not target.exists()


async def test_a_full_disk_says_nothing_of_the_file(tmp_path: Path) -> None:
    source, target = _upload(tmp_path, encoded(tones(44_100), 44100, "wav"))
    target.symlink_to("/dev/full")
    with pytest.raises(DiskFull):
        await decode_file(source, target, LIMITS)
    assert _files(tmp_path) == [source]


HANGS_HALF_WAY = (
    "import sys, json, time; open(json.loads(sys.argv[1])['target'], 'w').write('partial'); time.sleep(60)"
)


async def test_a_decoder_that_hangs_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: list[asyncio.subprocess.Process]
) -> None:
    monkeypatch.setattr(decode, "_BOOTSTRAP", HANGS_HALF_WAY)
    source, target = _upload(tmp_path, encoded(tones(44_100), 44100, "wav"))
    with pytest.raises(BadAudio, match=r"0\.3 s") as caught:
        await decode_file(source, target, replace(LIMITS, timeout_s=0.3))
    assert caught.value.code is BadAudioCode.TIMEOUT
    assert [_is_gone(process) for process in processes] == [True]
    assert _files(tmp_path) == [source]


async def test_a_decoder_that_is_too_slow_is_killed(tmp_path: Path) -> None:
    source, target = _upload(tmp_path, encoded(tones(50 * 44_100), 44100, "wav"))
    with pytest.raises(BadAudio) as caught:
        await decode_file(source, target, replace(LIMITS, timeout_s=0.03))
    assert caught.value.code is BadAudioCode.TIMEOUT
    assert _files(tmp_path) == [source]


async def test_too_little_memory_is_said_so(tmp_path: Path) -> None:
    source, target = _upload(tmp_path, encoded(tones(44_100), 44100, "flac"))
    with pytest.raises(BadAudio, match="100 MiB") as caught:
        await decode_file(source, target, replace(LIMITS, memory_bytes=100 * 2**20))
    assert caught.value.code is BadAudioCode.MEMORY
    assert not target.exists()


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.1])
async def test_cancelling_kills_the_process_whenever_it_comes(
    tmp_path: Path, processes: list[asyncio.subprocess.Process], after_s: float
) -> None:
    source, target = _upload(tmp_path, encoded(tones(50 * 44_100), 44100, "flac"))
    task = asyncio.create_task(decode_file(source, target, LIMITS))
    await asyncio.sleep(after_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(_is_gone(process) for process in processes)
    assert _files(tmp_path) == [source]


async def test_a_half_written_target_goes_when_the_task_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: list[asyncio.subprocess.Process]
) -> None:
    monkeypatch.setattr(decode, "_BOOTSTRAP", HANGS_HALF_WAY)
    source, target = _upload(tmp_path, encoded(tones(44_100), 44100, "wav"))
    task = asyncio.create_task(decode_file(source, target, LIMITS))
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.to_thread(_wait_for, target)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [_is_gone(process) for process in processes] == [True]
    assert not target.exists()


async def test_several_at_once_do_not_mix(tmp_path: Path) -> None:
    lengths = [5000, 6000, 7000]
    for length in lengths:
        (tmp_path / f"{length}").write_bytes(encoded(tones(length), 44100, "wav"))
    decoded = await asyncio.gather(
        *(decode_file(tmp_path / f"{n}", tmp_path / f"{n}.wav", LIMITS) for n in lengths)
    )
    assert [audio.samples for audio in decoded] == lengths


@pytest.mark.parametrize(
    ("bootstrap", "expected"),
    [
        pytest.param("import os; os.abort()", BadAudioCode.CORRUPT, id="crashes"),
        pytest.param("import os; os.kill(os.getpid(), 9)", BadAudioCode.MEMORY, id="killed by the kernel"),
        pytest.param("import os; os.kill(os.getpid(), 24)", BadAudioCode.TIMEOUT, id="out of CPU time"),
        pytest.param("print('nonsense')", None, id="answers nonsense"),
        pytest.param("print('{}')", None, id="answers nothing of use"),
        pytest.param("print('x' * 100_000)", None, id="answers too much"),
        pytest.param("raise SystemExit(3)", None, id="does not answer"),
    ],
)
async def test_a_decoder_that_does_not_answer_is_an_error_of_its_own_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bootstrap: str, expected: BadAudioCode | None
) -> None:
    source, target = _upload(tmp_path, encoded(tones(5000), 44100, "wav"))
    partial = f"import sys, json; open(json.loads(sys.argv[1])['target'], 'w').write('partial'); {bootstrap}"
    monkeypatch.setattr(decode, "_BOOTSTRAP", partial)
    with pytest.raises((BadAudio, DecoderBroken)) as caught:
        await decode_file(source, target, LIMITS)
    assert getattr(caught.value, "code", None) is expected
    assert not target.exists()


async def test_the_process_is_limited_before_it_decodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen from inside: limits of the kernel, an empty environment, a session of its own."""
    source, target = _upload(tmp_path, encoded(tones(5000), 44100, "wav"))
    spy = (
        "import sys; sys.path += sys.argv[2:]\n"
        "from deployments.audio.decode import worker\n"
        "import os, resource, json\n"
        "task = worker.Task.from_json(sys.argv[1])\n"
        "worker._limit_this_process(task.limits)\n"
        "names = ('CORE', 'CPU', 'AS', 'FSIZE')\n"
        "limits = [resource.getrlimit(getattr(resource, 'RLIMIT_' + name)) for name in names]\n"
        "own = [os.getsid(0) == os.getpid(), sorted(os.environ), 'site' in sys.modules, 'av' in sys.modules]\n"
        f"open({str(tmp_path / 'seen')!r}, 'w').write(json.dumps([limits, own]))\n"
    )
    monkeypatch.setattr(decode, "_BOOTSTRAP", spy)
    with pytest.raises(DecoderBroken):
        await decode_file(source, target, LIMITS)
    limits, own = json.loads((tmp_path / "seen").read_text())
    assert limits == [
        [0, 0],
        [22, 22],
        [LIMITS.memory_bytes] * 2,
        [LIMITS.output_bytes] * 2,
    ]
    session_leader, environment, site, av = own
    assert session_leader
    assert set(environment) == {"LC_ALL", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"}
    assert not site
    assert not av
