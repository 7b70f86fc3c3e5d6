"""Keys and tiers: with none configured all is allowed; with some, each sees its own tenant and does what it may."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from tests.support.harness import Running, problem, running, tone, wav


def key_of(name: str, tenant: str, tier: str) -> dict[str, str]:
    return {"sha256": hashlib.sha256(name.encode()).hexdigest(), "tenant": tenant, "tier": tier}


@asynccontextmanager
async def guarded() -> AsyncIterator[Running]:
    keys = (key_of("gratis", "ann", "free"), key_of("gold", "bob", "paid"))
    async with running(
        {"mock": MockEngine()},
        separators={"mock": MockSeparator()},
        overrides={"access": {"keys": keys}},
    ) as app:
        yield app


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer tin"}, {"X-API-Key": "tin"}, {"Authorization": "Basic gold"}]
)
async def test_without_a_known_key_nobody_comes_in(headers: dict[str, str]) -> None:
    async with guarded() as app:
        for url in ("/v1/chains", "/v1/jobs", "/job/x"):
            answer = await app.http.get(url, headers=headers)
            problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await app.http.get("/health", headers=headers)).status_code == 200


@pytest.mark.parametrize("headers", [{"Authorization": "bearer gold"}, {"X-API-Key": "gold"}])
async def test_a_key_opens_its_own_tenant_alone(headers: dict[str, str]) -> None:
    async with guarded() as app:
        files = {"file": ("a.wav", wav(tone(0.3)))}
        chain = (await app.http.post("/v1/chains", files=files, headers=headers)).json()
        assert (await app.http.get(f"/v1/chains/{chain['id']}", headers=headers)).status_code == 200
        other = {"X-API-Key": "gratis"}
        problem(await app.http.get(f"/v1/chains/{chain['id']}", headers=other), 404)
        assert (await app.http.get("/v1/chains", headers=other)).json()["chains"] == []


async def test_a_free_key_has_no_stems_and_is_told_the_tier() -> None:
    async with guarded() as app:
        files = {"file": ("a.wav", wav(tone(0.3)))}
        free, paid = {"X-API-Key": "gratis"}, {"X-API-Key": "gold"}
        for headers, status in ((free, 403), (paid, 202)):
            chain = (await app.http.post("/v1/chains", files=files, headers=headers)).json()
            url = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}/stems"
            for answer in (
                await app.http.post(url, headers=headers),
                await app.http.post("/process", files=files, headers=headers),
            ):
                assert answer.status_code == status
                if status == 403:
                    refused = problem(answer, 403)
                    assert (refused["tier"], refused["required_tier"]) == ("free", "paid")
                    assert "paid" in refused["detail"]
