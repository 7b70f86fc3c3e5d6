"""What an answer says of the sound that it gives or will make."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import numpy as np
import pytest
import soundfile

from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from tests.support.harness import problem, running, tone, wav


@pytest.mark.parametrize(
    ("channels", "mode", "is_noticed"),
    [(2, "continue", True), (2, "melody", True), (2, "text", False), (1, "continue", False)],
)
async def test_a_stereo_clip_and_a_mono_model(channels: int, mode: str, is_noticed: bool) -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.upload(wav(tone(1.0, channels=channels)))
        made = await app.branch(chain["id"], chain["root_id"], mode=mode, takes=2, prompt="x")
        assert [("mock is mono" in notice) for notice in made["notices"]] == [True] * is_noticed
        node = made["nodes"][0]["id"]
        await app.finished(chain["id"], node)
        url = f"/v1/chains/{chain['id']}/nodes/{node}/provenance"
        provenance = (await app.http.get(url)).json()
        heard = None if mode == "text" else channels
        assert (provenance["context_channels"], provenance["model_channels"]) == (heard, 1)


@pytest.mark.parametrize("audio_format", ["flac", "mp3"])
async def test_a_download_over_full_scale_is_turned_down_not_clipped(audio_format: str) -> None:
    loud = tone(1.0, level=2.0)
    async with running({"mock": MockEngine()}) as app:
        chain = await app.upload(wav(loud))
        url = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}/audio"
        answer = await app.http.get(url, params={"format": audio_format})
        assert answer.status_code == 200
        gain_db = float(answer.headers["x-segue-gain-db"])
        assert -8.0 < gain_db < -6.0
        samples, _ = soundfile.read(io.BytesIO(answer.content), always_2d=True)
        expected = 2.0 * 10 ** (gain_db / 20)
        assert np.abs(samples[4000:40_000]).max() == pytest.approx(expected, abs=0.02)
        assert "x-segue-gain-db" not in (await app.http.get(url)).headers


async def test_a_page_of_an_allowed_origin_may_read_what_answers_say_of_the_sound() -> None:
    origin = "https://studio.example"
    async with running(
        {"mock": MockEngine()}, overrides={"http": {"cors_origins": [origin]}}, work=False
    ) as app:
        answer = await app.http.get("/livez", headers={"Origin": origin})
        exposed = {
            name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")
        }
    assert {
        "x-segue-gain-db",
        "x-segue-clipped-samples",
        "x-segue-peak-dbfs",
        "content-disposition",
        "content-range",
        "location",
        "retry-after",
        "x-request-id",
    } <= exposed


async def test_a_full_server_refuses_a_track_before_its_body_is_read() -> None:
    async with running(
        {"mock": MockEngine()},
        separators={"mock": MockSeparator()},
        overrides={"jobs": {"max_active_per_tenant": 1}},
        work=False,
    ) as app:
        files = {"file": ("a.wav", wav(tone(0.5)))}
        assert (await app.http.post("/process", files=files)).status_code == 202
        read = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal read
            read += 1
            yield b"--b\r\n"

        headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": "1000000"}
        problem(await app.http.post("/process", content=body(), headers=headers), 429)
        assert read == 0
