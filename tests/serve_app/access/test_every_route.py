"""Every route of the OpenAPI document, asked with a wrong key, with none, and with another tenant's: generated from
the document, so that no new route is forgotten."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from tests.serve_app.access.keys import configured
from tests.support.harness import Running, problem, running, tone, wav

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN = {"/livez", "/readyz", "/health", "/config", "/v1/config", "/v1/models", "/v1/gpu"}
"""The only ones that answer without a key; the rest of the document's paths need one."""

CLIP = wav(tone(0.2, 8000), 8000)
ANN, BOB, OPERATOR = {"X-API-Key": "ann"}, {"X-API-Key": "bob"}, {"X-API-Key": "operator"}


class World:
    """Ann's chain, with everything that a route may name, and Bob, who has nothing."""

    def __init__(self, app: Running, ids: dict[str, str]) -> None:
        self.app = app
        self.ids = ids
        self.document: dict[str, Any] = app.api.openapi()

    @property
    def operations(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [
            (method.upper(), path, operation)
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
        ]

    def url(self, path: str) -> str:
        """With Ann's ids in it."""

        def known(match: re.Match[str]) -> str:
            name = match[1]
            if path.startswith(("/job/", "/download/")) and name == "job_id":
                return self.ids["process"]
            return self.ids.get(name, "unknown")

        return re.sub(r"\{(\w+)\}", known, path)

    async def ask(self, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        """With a body that the route takes, as far as the document tells."""
        operation = self.document["paths"][path][method.lower()]
        content = operation.get("requestBody", {}).get("content", {})
        more: dict[str, Any] = {}
        if "application/json" in content:
            more["json"] = self._example(content["application/json"]["schema"])
        elif content:
            more["files"] = {"file": ("a.wav", CLIP)}
        return await self.app.http.request(method, self.url(path), headers=headers, **more)

    def _example(self, schema: dict[str, Any]) -> Any:
        while "$ref" in schema or "anyOf" in schema:
            if "anyOf" in schema:
                schema = schema["anyOf"][0]
            else:
                schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        fields = schema.get("properties", {})
        return {name: self._value(name, fields[name]) for name in schema.get("required", ())}

    def _value(self, name: str, schema: dict[str, Any]) -> Any:
        if name.endswith("_id"):
            return self.ids["node_id"]
        kind = schema.get("type")
        numbers = {"number": 1.0, "integer": 1, "boolean": True}
        return numbers.get(str(kind), schema.get("enum", ["words"])[0])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    keys = (
        configured("ann", "ann", "paid"),
        configured("bob", "bob", "paid"),
        configured("operator", "op", "operator"),
    )
    async with running(
        {"mock": MockEngine()},
        separators={"mock": MockSeparator()},
        analyser=MockAnalyser(),
        overrides={"access": {"keys": keys}, "events": {"max_stream_s": 0.05, "poll_s": 0.05}},
    ) as app:
        app.http.headers.update(ANN)
        chain = await app.upload(CLIP)
        url = f"/v1/chains/{chain['id']}"
        made = await app.branch(chain["id"], chain["root_id"], duration_s=0.5)
        await app.finished(chain["id"], made["nodes"][0]["id"])
        stems = (await app.http.post(f"{url}/nodes/{chain['root_id']}/stems")).json()["job_id"]
        process = (await app.http.post("/process", files={"file": ("a.wav", CLIP)})).json()["job_id"]
        export = await app.http.post(f"{url}/export", json={"format": "wav"})
        for job_id in (stems, process):
            assert (await app.ended(job_id))["state"] == "succeeded"
        await app.rest()
        del app.http.headers["X-API-Key"]
        ids = {
            "chain_id": chain["id"],
            "node_id": chain["root_id"],
            "job_id": made["job_id"],
            "export_id": export.headers["x-segue-export-id"],
            "stem": "vocals",
            "track": "vocals",
            "process": process,
        }
        yield World(app, ids)


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}])
async def test_without_a_good_key_only_the_open_routes_answer(world: World, headers: dict[str, str]) -> None:
    before = await world.app.keys()
    walked = 0
    for method, path, operation in world.operations:
        answer = await world.ask(method, path, headers)
        if path in OPEN:
            assert answer.status_code in (200, 503), path
            assert not operation.get("security") or {} in operation["security"], path
        else:
            refused = problem(answer, 401)
            assert answer.headers["connection"] == "close", path
            assert set(refused) == {"type", "title", "status", "detail", "request_id"}
        walked += 1
    assert walked == len(world.operations) >= 50
    assert {key for key in await world.app.keys() - before if key.startswith("tenants/")} == set()


async def test_another_tenant_changes_and_learns_nothing(world: World) -> None:
    async def of_ann() -> dict[str, bytes]:
        return {
            key: (await world.app.store.get(key)).data
            for key in await world.app.keys()
            if key.startswith("tenants/ann/")
        }

    names = {world.ids[name] for name in ("chain_id", "node_id", "job_id", "export_id", "process")}
    before = await of_ann()
    for method, path, _ in world.operations:
        answer = await world.ask(method, path, BOB)
        assert answer.status_code < 500 or path in OPEN, (path, answer.text[:300])
        if "{" in path:
            assert answer.status_code in (403, 404, 422), (method, path, answer.status_code)
        if path.startswith(("/v1/keys", "/v1/audit", "/v1/usage/tenants")):
            assert problem(answer, 403)["required_tier"] == "operator", path
        if answer.headers.get("content-type", "").startswith("application/json"):
            # What its own requests sent comes back; nothing else of Ann does.
            shown = json.dumps(answer.json())
            assert not [name for name in names if name in shown], (method, path, shown[:300])
    assert await of_ann() == before


async def test_the_operator_reads_what_happened(world: World) -> None:
    refused = await world.app.http.get("/v1/keys", headers={**BOB, "X-Request-ID": "walk-1"})
    problem(refused, 403)
    renamed = await world.app.http.patch(
        f"/v1/chains/{world.ids['chain_id']}", json={"title": "x"}, headers={**ANN, "X-Request-ID": "walk-2"}
    )
    assert renamed.status_code == 200
    entries: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        page = (await world.app.http.get(f"/v1/audit?cursor={cursor}", headers=OPERATOR)).json()
        entries += page["entries"]
        cursor = page["cursor"]
    by_request = {entry["request_id"]: entry for entry in entries}
    assert (by_request["walk-2"]["tenant"], by_request["walk-2"]["status"]) == ("ann", 200)
    assert by_request["walk-2"]["action"] == "PATCH /v1/chains/{chain_id}"
    assert by_request["walk-2"]["ids"] == {"chain_id": world.ids["chain_id"]}
    assert by_request["walk-1"]["status"] == 403
    assert all("ann" not in str(entry["key"]) for entry in entries)  # ids of keys, never keys
    uploads = [entry for entry in entries if entry["sha256"] and entry["tenant"] == "ann"]
    assert {entry["action"] for entry in uploads} >= {"POST /v1/chains", "POST /process"}
    assert any(entry["jobs"] for entry in entries)
