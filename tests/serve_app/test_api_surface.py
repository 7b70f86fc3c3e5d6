"""What every answer has in common, what the API says of itself, and what it never says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from deployments.engines.music.mock import MockEngine
from tests.support.harness import problem, running

ORIGIN = "https://studio.example"
ROUTES = {
    "/v1/chains": {"get", "post"},
    "/v1/chains/{chain_id}": {"get", "patch", "delete"},
    "/v1/chains/{chain_id}/spine": {"get"},
    "/v1/chains/{chain_id}/events": {"get"},
    "/v1/chains/{chain_id}/export": {"post"},
    "/v1/chains/{chain_id}/nodes": {"post"},
    "/v1/chains/{chain_id}/nodes/{node_id}": {"get"},
    "/v1/chains/{chain_id}/nodes/{node_id}/commit": {"post"},
    "/v1/chains/{chain_id}/nodes/{node_id}/discard": {"post"},
    "/v1/chains/{chain_id}/nodes/{node_id}/uncommit": {"post"},
    "/v1/chains/{chain_id}/nodes/{node_id}/restore": {"post"},
    "/v1/chains/{chain_id}/nodes/{node_id}/audio": {"get"},
    "/v1/chains/{chain_id}/nodes/{node_id}/cancel_others": {"post"},
    "/v1/chains/{chain_id}/nodes/{node_id}/line/audio": {"get"},
    "/v1/chains/{chain_id}/nodes/{node_id}/original": {"get"},
    "/v1/chains/{chain_id}/nodes/{node_id}/peaks": {"get"},
    "/v1/chains/{chain_id}/nodes/{node_id}/provenance": {"get"},
    "/v1/events": {"get"},
    "/v1/jobs": {"get"},
    "/v1/jobs/{job_id}": {"get", "delete"},
    "/v1/jobs/{job_id}/events": {"get"},
    "/v1/exports/{export_id}/file": {"get"},
    "/v1/exports/{export_id}/c2pa": {"get"},
    "/v1/models": {"get"},
    "/v1/gpu": {"get"},
    "/v1/config": {"get"},
    "/health": {"get"},
    "/livez": {"get"},
    "/readyz": {"get"},
}


async def described() -> dict[str, Any]:
    async with running({"mock": MockEngine()}, work=False) as app:
        answer = await app.http.get("/openapi.json")
        assert answer.status_code == 200
        document: dict[str, Any] = answer.json()
        assert (await app.http.get("/openapi.json")).json() == document
        return document


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(part) for part in value.values()))
    return set().union(*(references(part) for part in value)) if isinstance(value, list) else set()


async def test_every_route_is_described() -> None:
    paths = (await described())["paths"]
    for path, methods in ROUTES.items():
        assert methods <= paths[path].keys(), path


async def test_the_description_holds_together() -> None:
    document = await described()
    assert document["openapi"].startswith("3.1")
    for reference in references(document):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        assert isinstance(found, dict)
    operations = [
        (path, operation) for path, item in document["paths"].items() for operation in item.values()
    ]
    ids = [operation["operationId"] for _, operation in operations]
    assert len(set(ids)) == len(ids)
    for path, operation in operations:
        placed = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert placed == set(re.findall(r"\{(\w+)\}", path)), path
        assert any(status.startswith("2") for status in operation["responses"]), path
    body = document["paths"]["/v1/chains"]["post"]["requestBody"]["content"]
    assert body.keys() == {"multipart/form-data", "application/json"}


async def test_the_description_shows_examples_of_requests_answers_and_problems() -> None:
    document = await described()
    schemas = document["components"]["schemas"]
    for schema in ("NewNodes", "NewChain"):
        for name in ("prompt", "duration_s"):
            assert schemas[schema]["properties"][name]["examples"], f"{schema}.{name}"
    assert schemas["ChainPatch"]["properties"]["title"]["examples"]
    assert schemas["NodeView"]["example"]["status"] == "running"
    branch = document["paths"]["/v1/chains/{chain_id}/nodes"]["post"]["responses"]
    for status in ("404", "409", "422", "429"):
        [(media_type, content)] = branch[status]["content"].items()
        assert media_type == "application/problem+json"
        assert content["example"]["status"] == int(status)


async def test_an_id_goes_with_every_request() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        for path in ("/livez", "/v1/chains/nothing", "/nowhere"):
            answer = await app.http.get(path, headers={"X-Request-ID": "take-5"})
            assert answer.headers["x-request-id"] == "take-5"
        assert problem(answer, 404)["request_id"] == "take-5"
        ids = {(await app.http.get("/livez")).headers["x-request-id"] for _ in range(3)}
        assert len(ids) == 3
        forged = await app.http.get("/livez", headers={"X-Request-ID": "a b<script>"})
        assert "script" not in forged.headers["x-request-id"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8000", 200),
        ("TestServer", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example:8000", 421),
        ("127.0.0.1@evil.example", 400),
        ("", 400),
    ],
)
async def test_only_requests_for_this_host_are_answered(host: str, status: int) -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        answer = await app.http.get("/livez", headers={"Host": host})
        assert answer.status_code == status
        if status != 200:
            problem(answer, status)
            refused = await app.http.post("/v1/chains", json={"prompt": "x"}, headers={"Host": host})
            problem(refused, status)
            assert await app.keys() == set()


async def test_only_configured_origins_may_read_the_answers() -> None:
    async with running(
        {"mock": MockEngine()}, work=False, overrides={"http": {"cors_origins": [ORIGIN]}}
    ) as app:
        for path in ("/livez", "/v1/chains/nothing"):
            mine = await app.http.get(path, headers={"Origin": ORIGIN})
            assert mine.headers["access-control-allow-origin"] == ORIGIN
            assert "x-segue-export-id" in mine.headers["access-control-expose-headers"].lower()
            theirs = await app.http.get(path, headers={"Origin": "https://evil.example"})
            assert "access-control-allow-origin" not in theirs.headers
        for origin, allowed in ((ORIGIN, True), ("https://evil.example", False), ("null", False)):
            asked = await app.http.options(
                "/v1/chains",
                headers={
                    "Origin": origin,
                    "Access-Control-Request-Method": "PATCH",
                    "Access-Control-Request-Headers": "content-type,idempotency-key,last-event-id",
                },
            )
            assert (asked.headers.get("access-control-allow-origin") == origin) is allowed
            assert (asked.status_code == 200) is allowed
            assert "access-control-allow-credentials" not in asked.headers
    async with running({"mock": MockEngine()}, work=False, overrides={"http": {"cors_origins": []}}) as app:
        none = await app.http.get("/livez", headers={"Origin": "http://localhost:3000"})
        assert "access-control-allow-origin" not in none.headers


async def test_browsers_are_told_not_to_guess_or_frame() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        for path in ("/livez", chain["nodes"][0]["audio"]["url"], "/nowhere"):
            answer = await app.http.get(path)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"


async def test_health_models_capacity_and_settings_are_told() -> None:
    async with running({"mock": MockEngine(), "tiny": MockEngine()}, work=False) as app:
        health = (await app.http.get("/health")).json()
        assert (health["ok"], health["status"], health["model"]) == (True, "ready", "mock")
        assert health["models"]["tiny"]["status"] == "ready"
        assert (await app.http.get("/readyz")).json() == {
            "ok": True,
            "status": "ready",
            "storage": {"status": "ready", "reason": None},
        }
        models = (await app.http.get("/v1/models")).json()["models"]
        assert [(model["name"], model["default"]) for model in models] == [("mock", True), ("tiny", False)]
        assert all(model["licence"] for model in models)
        assert (await app.http.get("/v1/gpu")).json()["gpus_total"] == 0
        config = (await app.http.get("/v1/config")).json()
        assert config["generation"]["max_takes"] == 8
        formats = {"wav", "w64", "aiff", "caf", "flac", "ogg", "m4a", "webm", "amr", "mp3", "aac"}
    assert set(config["uploads"]["formats"]) == formats


async def test_no_answer_names_a_place_on_the_server() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        url = f"/v1/chains/{chain['id']}"
        node = f"{url}/nodes/{chain['root_id']}"
        answers = [
            await app.http.get(path)
            for path in (url, node, f"{node}/provenance", "/v1/jobs", "/v1/config", "/v1/models", "/health")
        ]
        answers.append(
            await app.http.post(f"{url}/export", json={"format": "wav"}, headers={"Prefer": "respond-async"})
        )
        for answer in answers:
            text = json.dumps(answer.json())
            for place in ("/tmp", "/home", "/root", "blobs/", "tenants/", "memory:"):
                assert place not in text, answer.url
