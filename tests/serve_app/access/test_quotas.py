"""Quotas over HTTP: what is over a limit is refused in full sentences, what ends gives back what it held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from tests.serve_app.access.keys import configured
from tests.support.harness import Running, problem, running, tone, wav

CLIP = wav(tone(0.25, 8000, 1), 8000)


@asynccontextmanager
async def limited(work: bool = True, **limits: Any) -> AsyncIterator[Running]:
    """Ann's tier has the limits, the operator's none."""
    tiers = [
        {"name": "tight", "capabilities": ["generate", "export", "tools"], **limits},
        {"name": "operator"},
    ]
    access = {
        "keys": (configured("ann", "ann", "tight"), configured("op", "op", "operator")),
        "tiers": tiers,
        "audit": False,
    }
    async with running(
        {"mock": MockEngine()},
        separators={"mock": MockSeparator()},
        analyser=MockAnalyser(),
        overrides={"access": access, "analysis": {"automatic": False}},
        work=work,
    ) as app:
        app.http.headers["X-API-Key"] = "ann"
        yield app


async def usage(app: Running) -> dict[str, Any]:
    answer = await app.http.get("/v1/usage")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_64_requests_at_once_get_exactly_what_there_is_room_for() -> None:
    async with limited(work=False, audio_s_per_day=10.0, unfinished_jobs=100) as app:
        chain = await app.upload(CLIP)
        body = {"parent_id": chain["root_id"], "duration_s": 1.0}
        url = f"/v1/chains/{chain['id']}/nodes"
        answers = await asyncio.gather(*(app.http.post(url, json=body) for _ in range(64)))
        assert sorted(answer.status_code for answer in answers) == [202] * 10 + [429] * 54
        refused = next(answer for answer in answers if answer.status_code == 429)
        told = problem(refused, 429)
        assert told["type"] == "urn:segue:problem:limit"
        assert (told["limit"], told["used"], told["most"]) == ("audio_s_per_day", 10.0, 10.0)
        assert 0 < int(refused.headers["retry-after"]) <= 24 * 3600
        assert (refused.headers["ratelimit-limit"], refused.headers["ratelimit-remaining"]) == ("10", "0")
        shown = await usage(app)
        assert (shown["held"]["audio_s"], shown["held"]["jobs"], shown["today"]["audio_s"]) == (10.0, 10, 0.0)
        # Cancelled work gives back what it held, and costs nothing.
        for answer in answers:
            if answer.status_code == 202:
                await app.http.delete(f"/v1/jobs/{answer.json()['job_id']}")
        app.worker.start()
        await app.rest()
        shown = await usage(app)
        assert (shown["held"]["audio_s"], shown["today"]["audio_s"]) == (0.0, 0.0)


async def test_what_was_made_is_on_the_day_under_its_kind() -> None:
    async with limited(audio_s_per_day=3.0) as app:
        chain = await app.upload(CLIP)
        made = await app.branch(chain["id"], chain["root_id"], duration_s=2.0)
        assert (await app.ended(made["job_id"]))["state"] == "succeeded"
        exported = await app.http.post(f"/v1/chains/{chain['id']}/export", json={"format": "wav"})
        assert exported.status_code == 200
        await app.rest()
        (day,) = (shown := await usage(app))["days"]
        assert set(day["kinds"]) == {"upload", "generate", "export"}
        assert (day["kinds"]["generate"]["audio_s"], day["kinds"]["generate"]["jobs"]) == (2.0, 1)
        assert day["kinds"]["generate"]["gpu_s"] > 0
        assert day["kinds"]["upload"]["upload_bytes"] == len(CLIP)
        blobs = sum([found.size_bytes async for found in app.store.list("tenants/ann/blobs/")])
        assert shown["stored_bytes"] == blobs == day["total"]["stored_bytes"]
        body = {"parent_id": chain["root_id"], "duration_s": 1.0}
        problem(await app.http.post(f"/v1/chains/{chain['id']}/nodes", json=body), 429)
        alone = {**body, "duration_s": 4.0}
        told = problem(await app.http.post(f"/v1/chains/{chain['id']}/nodes", json=alone), 403)
        assert told["type"] == "urn:segue:problem:limit"
        tenants = (await app.http.get("/v1/usage/tenants", headers={"X-API-Key": "op"})).json()["tenants"]
        assert [tenant["tenant"] for tenant in tenants] == ["ann"]


async def test_the_tools_count_and_obey() -> None:
    async with limited(audio_s_per_day=3.0) as app:
        body = {"prompt": "x", "duration": 2}
        assert (await app.http.post("/generate", json=body)).status_code == 200
        problem(await app.http.post("/generate", json=body), 429)
        kinds = (await usage(app))["days"][0]["kinds"]
        assert (kinds["generate"]["audio_s"], kinds["generate"]["jobs"]) == (2.0, 1)
        problem(await app.http.post("/process", files={"file": ("a.wav", CLIP)}), 403)


@pytest.mark.parametrize("limit", ["upload_bytes_per_day", "stored_bytes"])
async def test_uploads_obey(limit: str) -> None:
    most = 2 * len(CLIP) - 1
    async with limited(**{limit: most}) as app:
        await app.upload(CLIP)
        before = await app.keys()
        told = problem(await app.http.post("/v1/chains", files={"file": ("a.wav", CLIP)}), 429)
        assert told["limit"] == limit
        assert await app.keys() == before


async def test_requests_a_minute() -> None:
    async with limited(requests_per_minute=5) as app:
        answers = [await app.http.get("/v1/chains") for _ in range(7)]
        statuses = [answer.status_code for answer in answers]
        assert statuses == [200] * 5 + [429] * 2
        left = [int(answer.headers["ratelimit-remaining"]) for answer in answers]
        assert left == [4, 3, 2, 1, 0, 0, 0]
        told = problem(answers[-1], 429)
        assert told["type"] == "urn:segue:problem:rate"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 12
        for url in ("/livez", "/v1/models"):
            assert (await app.http.get(url)).status_code == 200
        assert (await app.http.get("/v1/chains", headers={"X-API-Key": "op"})).status_code == 200


async def test_one_tenant_leaves_places_of_the_tools_to_others() -> None:
    async with limited() as app:
        service = app.services.tools
        taken = 0
        while service._under_way.take("ann"):
            taken += 1
        assert taken == 7
        problem(await app.http.post("/generate", json={"prompt": "x", "duration": 1}), 429)
        other = await app.http.post(
            "/generate", json={"prompt": "x", "duration": 1}, headers={"X-API-Key": "op"}
        )
        assert other.status_code == 200
