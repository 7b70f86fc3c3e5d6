"""Pages of other sites make no work on a server that their visitor can reach."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from configs.environment import load_settings
from deployments.engines.music.mock import MockEngine
from serve_app.musicgen_service import answering_to, create_service
from tests.support.harness import Running, problem, running, tone, wav

shared = pytest.mark.asyncio(loop_scope="module")
"""For tests that use the application of all."""

STUDIO = "https://studio.example"
FOREIGN = [
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://testserver.evil.example"},
    {"Origin": "http://testserver:81"},
]
WELCOME = [
    {},
    {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "https://testserver"},
    {"Origin": STUDIO, "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "none"},
    # A proxy in front that gives another Host on; the browser knows better.
    {"Origin": "https://music.example", "Sec-Fetch-Site": "same-origin"},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app() -> AsyncIterator[Running]:
    async with running({"mock": MockEngine()}, overrides={"http": {"cors_origins": [STUDIO]}}) as app:
        yield app


@shared
async def test_a_foreign_page_makes_nothing(app: Running) -> None:
    chain = await app.upload(wav(tone(1.0)))
    kept = await app.keys()
    for headers in FOREIGN:
        node = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}"
        clip = {"file": ("clip.wav", wav(tone(1.0)))}
        for path in ("/v1/chains", "/process", "/analyze", "/compose"):
            answer = await app.http.post(path, files=clip, headers=headers)
            assert problem(answer, 403)["type"] == "urn:segue:problem:cross-site"
        for path in (f"{node}/stems", f"{node}/analysis", f"{node}/commit", "/generate", "/continue"):
            problem(await app.http.post(path, headers=headers), 403)
        problem(await app.http.delete(f"/v1/chains/{chain['id']}", headers=headers), 403)
        problem(await app.http.patch(f"/v1/chains/{chain['id']}", headers=headers), 403)
        assert await app.keys() == kept
        assert (await app.http.get(f"/v1/chains/{chain['id']}", headers=headers)).status_code == 200


@shared
async def test_everybody_else_does_as_before(app: Running) -> None:
    clip = {"file": ("clip.wav", wav(tone(1.0)))}
    for headers in WELCOME:
        answer = await app.http.post("/v1/chains", files=clip, headers=headers)
        assert answer.status_code == 201, headers


@shared
async def test_an_allowed_page_may_read_a_refusal(app: Running) -> None:
    answer = await app.http.post("/v1/chains", content=b"", headers={"Origin": STUDIO})
    problem(answer, 415)
    assert answer.headers["access-control-allow-origin"] == STUDIO


async def test_musicgen_service_is_guarded_as_the_whole_server() -> None:
    access = {"keys": [{"sha256": "a" * 64, "tenant": "one"}]}
    guarded = create_service("mock", -1, load_settings({"access": access}, environ={}))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(guarded), base_url="http://127.0.0.1:8001"
    ) as http:
        problem(await http.get("/health", headers={"Host": "evil.example"}), 421)
        assert (await http.get("/health")).status_code == 200
        body = {"audio_path": "clip.wav"}
        problem(await http.post("/continue", json=body), 401)
        problem(await http.post("/continue", json=body, headers={"X-API-Key": "guessed"}), 401)
        problem(await http.post("/continue", json=body, headers={"Origin": "http://evil.example"}), 403)


def test_who_names_an_address_to_listen_on_is_reached_by_it() -> None:
    settings = load_settings({}, environ={})
    assert "192.0.2.7" in answering_to(settings, "192.0.2.7").http.allowed_hosts
    assert answering_to(settings, "0.0.0.0") == settings  # noqa: S104 - it is compared, not bound
    assert answering_to(settings, "127.0.0.1") == settings
