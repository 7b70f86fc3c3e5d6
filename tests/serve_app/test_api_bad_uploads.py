"""Files that are no clips: each is refused by its own name, and nothing of it stays."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import pytest_asyncio

from deployments.engines.music.mock import MockEngine
from serve_app.http import multipart
from storage.stores.memory import MemoryStore
from storage.stores.object_store import StoreUnavailable
from tests.deployments.audio.decode.files import SIX_FORMATS, encoded, tones
from tests.support.harness import Running, listening, problem, running, tone, wav
from tests.support.patience import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = {"uploads": {"max_bytes": 400_000, "max_duration_s": 2.0, "min_duration_s": 0.1}}
FORM = "multipart/form-data; boundary=b"
FORM_HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; empty again at the end."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list(tmp_path.glob("segue-*/*/*")) == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Running]:
    async with running({"mock": MockEngine()}, overrides=LIMITS, work=False) as app:
        yield app


@pytest_asyncio.fixture(loop_scope="module")
async def app(shared: Running, scratch: Path) -> AsyncIterator[Running]:
    """The same application for all tests here: none of them leaves a trace in it."""
    yield shared
    assert await shared.keys() == set(), "something was left behind"


async def send(app: Running, data: bytes, filename: str = "clip.wav") -> httpx.Response:
    return await app.http.post("/v1/chains", files={"file": (filename, data)})


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (wav(tone(2.5, 32_000, 1), 32_000), "audio-too-long", "2 s"),
        (wav(tone(0.0)), "audio-empty", "no audio"),
        (wav(tone(1 / 44_100)), "audio-too-short", "0.1 s"),
        (wav(tone(0.2, 8_000, 8), 8_000), "audio-channels", "2"),
        (wav(tone(0.5, 3_999), 3_999), "audio-rate", "4000"),
        (wav(np.full((1, 8_000), np.nan, np.float32), 8_000), "audio-not-finite", ""),
        (wav(np.full((1, 8_000), np.inf, np.float32), 8_000), "audio-not-finite", ""),
        (wav(np.full((1, 8_000), 3.4e38, np.float32), 8_000), "audio-too-loud", "dB over full scale"),
    ],
    ids=["too long", "0 s", "one sample", "8 channels", "rate", "NaN", "infinite", "3.4e38"],
)
async def test_a_clip_outside_the_limits_is_told_which(
    app: Running, data: bytes, code: str, says: str
) -> None:
    body = problem(await send(app, data), 422)
    assert body["type"].endswith(f":{code}")
    assert says in body["detail"]
    assert body["errors"] == [{"field": "file", "message": body["detail"]}]


@pytest.mark.parametrize("extension", SIX_FORMATS)
async def test_half_a_file_is_no_file(app: Running, extension: str) -> None:
    whole = encoded(tones(44_100), 44_100, extension)
    body = problem(await send(app, whole[: len(whole) // 2], f"clip.{extension}"), 422)
    assert body["type"].removeprefix("urn:segue:problem:audio-") in ("truncated", "corrupt")


@pytest.mark.parametrize(
    "data",
    [
        b"Dear musician, this is a letter.\n" * 50,
        b"#EXTM3U\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        bytes(5_000),
        np.random.default_rng(1).bytes(50_000),
        b"RIFF",
    ],
    ids=["text", "playlist", "concat", "picture", "zeros", "noise", "four bytes"],
)
async def test_what_is_no_audio_is_refused_whatever_it_is_called(app: Running, data: bytes) -> None:
    body = problem(await send(app, data), 415)
    assert "WAV" in body["detail"]
    assert "/" not in body["detail"]


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "m4a"])
async def test_garbage_behind_a_true_beginning_is_refused(app: Running, extension: str) -> None:
    head = encoded(tones(8_820), 44_100, extension)[:64]
    answer = await send(app, head + np.random.default_rng(2).bytes(20_000))
    assert answer.status_code in (415, 422)
    problem(answer, answer.status_code)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("route", ["/v1/chains", "/process", "/analyze", "/compose"])
async def test_a_full_disk_is_no_fault_of_the_file(
    app: Running, monkeypatch: pytest.MonkeyPatch, route: str, error: int
) -> None:
    def full(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(multipart._Spool, "write", full)
    answer = await app.http.post(route, files={"file": ("clip.wav", wav(tone(1.0)))})
    assert "no room on its disk" in problem(answer, 507)["detail"]
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("route", ["/v1/chains", "/process", "/analyze", "/compose"])
async def test_no_room_for_a_temporary_file_is_507(
    app: Running, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "mkdtemp", full)
        answer = await app.http.post(route, files={"file": ("clip.wav", wav(tone(1.0)))})
    problem(answer, 507)


async def test_a_file_over_the_limit_is_refused_with_and_without_a_length(app: Running) -> None:
    too_large = FORM_HEAD + bytes(500_000) + b"\r\n--b--\r\n"

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(too_large), 50_000):
            yield too_large[start : start + 50_000]

    for content in (too_large, in_pieces()):
        answer = await app.http.post("/v1/chains", content=content, headers={"Content-Type": FORM})
        body = problem(answer, 413)
        assert body["limit_bytes"] == 400_000
        assert "400000 bytes" in body["detail"]


async def test_a_length_that_lies_does_not_help(app: Running) -> None:
    """Over a socket, where the declared length is what the server reads by."""
    async with listening(app.api) as http:
        refused = await http.post(
            "/v1/chains",
            content=FORM_HEAD + bytes(1_000_000) + b"\r\n--b--\r\n",
            headers={"Content-Type": FORM},
        )
        problem(refused, 413)
        assert (await http.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"", FORM, 400),
        (FORM_HEAD, FORM, 400),
        (b"--c--\r\n", FORM, 400),
        (b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\nx\r\n--b--\r\n', FORM, 422),
        (FORM_HEAD + b"\r\n--b--\r\n", FORM, 422),
        (FORM_HEAD + b"x\r\n" + FORM_HEAD + b"x\r\n--b--\r\n", FORM, 422),
        (b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nx\r\n--b--\r\n', FORM, 422),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", FORM, 400),
        (b"RIFF", "multipart/form-data", 400),
        (b"RIFF", "audio/wav", 415),
        (b"a=1", "application/x-www-form-urlencoded", 415),
        (b"RIFF", "", 415),
    ],
    ids=[
        "empty body",
        "no end",
        "another boundary",
        "no file",
        "empty file",
        "two files",
        "file under another name",
        "nameless part",
        "no boundary",
        "bare audio",
        "url-encoded",
        "no type",
    ],
)
async def test_a_broken_form_is_refused(app: Running, content: bytes, content_type: str, status: int) -> None:
    answer = await app.http.post("/v1/chains", content=content, headers={"Content-Type": content_type})
    problem(answer, status)


async def test_a_title_has_a_length(app: Running) -> None:
    files = {"file": ("a.wav", wav(tone(0.2)))}
    body = problem(await app.http.post("/v1/chains", files=files, data={"title": "x" * 201}), 422)
    assert body["errors"][0]["field"] == "title"
    assert "200" in body["detail"]


async def test_a_name_that_is_odd_is_no_reason_to_refuse_a_clip(scratch: Path) -> None:
    clip = wav(tone(0.2))
    async with running({"mock": MockEngine()}, work=False) as app:
        for filename, title in (
            ("n" * 240 + ".wav", "n" * 200),
            ("../../etc/passwd.wav", "passwd"),
            ("C:\\Music\\Löwe 🎵.wav", "Löwe 🎵"),
        ):
            chain = await app.upload(clip, filename=filename)
            assert chain["title"] == title
            original = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}/original"
            assert (await app.http.get(original)).content == clip


async def test_a_client_that_hangs_up_leaves_nothing(app: Running, scratch: Path) -> None:
    async with listening(app.api) as http:
        _, writer = await asyncio.open_connection("127.0.0.1", http.base_url.port)
        head = f"Host: 127.0.0.1\r\nContent-Type: {FORM}\r\nContent-Length: 300000\r\n\r\n"
        writer.write(f"POST /v1/chains HTTP/1.1\r\n{head}".encode() + FORM_HEAD + bytes(100_000))
        await writer.drain()

        await until(lambda: any(scratch.rglob("upload-*")))
        writer.transport.abort()
        await until(lambda: not [each for each in scratch.rglob("*") if each.is_file()])
        assert (await http.get("/livez")).status_code == 200


async def test_a_store_that_is_down_is_said_and_leaves_no_files(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object) -> str:
        raise StoreUnavailable("connect to 10.0.0.7 failed")

    async with running({"mock": MockEngine()}, work=False) as app:
        monkeypatch.setattr(MemoryStore, "put", down)
        answer = await send(app, wav(tone(0.2)))
        assert "10.0.0.7" not in problem(answer, 503)["detail"]
        assert int(answer.headers["retry-after"]) >= 1
