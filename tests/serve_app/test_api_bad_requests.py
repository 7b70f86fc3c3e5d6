"""Requests that make no sense, by mistake or on purpose: a 4xx that says why, and no trace in the store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from deployments.engines.music.mock import MockEngine
from tests.support.harness import Running, problem, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/json"}


class Stage:
    """An application with one ready chain, and two models, one of which knows no melody."""

    def __init__(self, app: Running, chain: dict[str, Any]) -> None:
        self.app = app
        self.http = app.http
        self.root_id: str = chain["root_id"]
        self.url = f"/v1/chains/{chain['id']}"

    async def branch(self, **body: Any) -> httpx.Response:
        return await self.raw(json.dumps({"parent_id": self.root_id, "duration_s": 0.5, **body}))

    async def raw(self, body: str | bytes, path: str = "/nodes") -> httpx.Response:
        return await self.http.post(self.url + path, content=body, headers=JSON)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Stage]:
    engines = {"mock": MockEngine(), "tiny": MockEngine()}
    async with running(engines) as app:
        chain = await app.generated()
        await app.ended(chain["nodes"][0]["job_id"])
        yield Stage(app, chain)


@pytest_asyncio.fixture(loop_scope="module")
async def stage(shared: Stage) -> AsyncIterator[Stage]:
    """The same application for all tests here: none of them leaves a trace in it."""

    async def traces() -> tuple[object, set[str]]:
        return (await shared.http.get(shared.url)).json(), await shared.app.keys()

    before = await traces()
    yield shared
    assert await traces() == before, "something was left behind"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("duration_s", 0, "greater than 0"),
        ("duration_s", 0.1, "0.5 to 300"),
        ("duration_s", -1, "greater than 0"),
        ("duration_s", 300.01, "0.5 to 300"),
        ("duration_s", 1e300, "0.5 to 300"),
        ("duration_s", float("nan"), "finite"),
        ("duration_s", float("inf"), "finite"),
        ("duration_s", "long", "number"),
        ("duration_s", None, "number"),
        ("prompt_duration_s", 0, "greater than 0"),
        ("prompt_duration_s", 31, "30"),
        ("prompt_duration_s", float("-inf"), "finite"),
        ("cfg_coef", -0.1, "greater than or equal to 0"),
        ("cfg_coef", 1e9, "20"),
        ("cfg_coef", float("nan"), "finite"),
        ("temperature", 0, "greater than 0"),
        ("temperature", 1e9, "5"),
        ("temperature", float("nan"), "finite"),
        ("top_k", -1, "0"),
        ("top_k", 10**12, "4096"),
        ("top_k", 1.5, "integer"),
        ("top_p", 1.1, "1"),
        ("top_p", -0.1, "0"),
        ("takes", 0, "1"),
        ("takes", -3, "1"),
        ("takes", 9, "1 to 8"),
        ("takes", 10**9, "64"),
        ("seed", -1, "0"),
        ("seed", 2**32, "4294967296"),
        ("seed", 1.5, "integer"),
        ("model", "gpt", "mock, tiny"),
        ("model", "/etc/passwd", "mock, tiny"),
        ("model", "../tiny", "mock, tiny"),
        ("model", "x" * 201, "200"),
        ("mode", "scream", "continue"),
        ("prompt", "x" * 1001, "1000"),
        ("prompt", "x" * 100_000, "4000"),
        ("prompt", 5, "string"),
        ("prompt", "half \ud83c", "Unicode"),
        ("parent_id", None, "string"),
        ("parent_id", "x" * 65, "64"),
        ("tempo", 120, "not permitted"),
        ("job_id", "mine", "not permitted"),
    ],
    ids=lambda value: str(value)[:20].encode("ascii", "replace").decode(),
)
async def test_a_branch_is_told_which_field_is_wrong_and_how(
    stage: Stage, field: str, value: object, says: str
) -> None:
    body = problem(await stage.branch(**{field: value}), 422)
    assert [error["field"] for error in body["errors"]] == [field]
    assert says in body["errors"][0]["message"]
    assert says in body["detail"]


async def test_a_model_without_melody_says_what_it_can(stage: Stage) -> None:
    body = problem(await stage.branch(model="tiny", mode="melody"), 422)
    assert body["errors"][0]["field"] == "mode"
    assert "text, continue, compose" in body["detail"]


async def test_every_wrong_field_is_named_at_once(stage: Stage) -> None:
    body = problem(await stage.branch(duration_s=999, prompt="x" * 1001, takes=9), 422)
    assert [error["field"] for error in body["errors"]] == ["duration_s", "prompt", "takes"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"{'parent_id': 1}", 400),
        (b"\xff\xfe{}", 400),
        (b"null", 422),
        (b"[]", 422),
        (b'"text"', 422),
        (b"[" * 100_000, 400),
        (b'{"a":' * 20_000, 400),
        (b'{"duration_s": 1e999, "parent_id": "x"}', 422),
        (b'{"seed": ' + b"9" * 5_000 + b', "parent_id": "x"}', 400),
        (b'{"parent_id": "x", "prompt": "\\ud800"}', 422),
        (b'{"prompt": "' + b"x" * 300_000 + b'"}', 413),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_a_body_that_cannot_be_read(stage: Stage, body: bytes, status: int) -> None:
    answered = problem(await stage.raw(body), status)
    if status == 413:
        assert "262144 bytes" in answered["detail"]
    generated = await stage.http.post("/v1/chains", content=body, headers=JSON)
    assert generated.status_code in (400, 413, 422)
    problem(generated, generated.status_code)


async def test_a_json_body_in_pieces_has_a_limit_too(stage: Stage) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'{"prompt": "'
        while True:
            yield b"x" * 65_536

    for path in ("/v1/chains", f"{stage.url}/nodes"):
        problem(await stage.http.post(path, content=endless(), headers=JSON), 413)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=b", ""]
)
async def test_only_json_is_read_as_json(stage: Stage, content_type: str) -> None:
    body = json.dumps({"parent_id": stage.root_id, "duration_s": 0.5})
    answer = await stage.http.post(f"{stage.url}/nodes", content=body, headers={"Content-Type": content_type})
    assert answer.status_code in (415, 422)
    problem(answer, answer.status_code)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "x" * 201),
        ("title", "\ud800"),
        ("title", 7),
        ("prompt", "\udfff"),
        ("duration_s", 301),
        ("takes", 2),
        ("mode", "melody"),
        ("parent_id", "x"),
        ("model", "gpt"),
    ],
    ids=lambda value: str(value)[:20].encode("ascii", "replace").decode(),
)
async def test_a_prompted_chain_is_checked_as_strictly(stage: Stage, field: str, value: object) -> None:
    body = json.dumps({"prompt": "x", "duration_s": 0.5, field: value})
    answer = await stage.http.post("/v1/chains", content=body, headers=JSON)
    # One parser calls half a surrogate pair bad JSON, the other a bad field.
    assert answer.status_code in (400, 422)
    told = problem(answer, answer.status_code)
    if answer.status_code == 422:
        assert [error["field"] for error in told["errors"]] == [field]


@pytest.mark.parametrize(
    "body", [{}, {"title": None}, {"title": "x" * 201}, {"title": "a", "spine": []}, {"title": "\ud800"}]
)
async def test_a_bad_rename_changes_nothing(stage: Stage, body: dict[str, Any]) -> None:
    problem(await stage.http.patch(stage.url, content=json.dumps(body), headers=JSON), 422)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"format": "exe"},
        {"format": "wav", "bit_depth": 12},
        {"format": "mp3", "bit_depth": 16},
        {"format": "flac", "bit_depth": 32},
        {"format": "wav", "sample_rate_hz": 0},
        {"format": "wav", "sample_rate_hz": 10**9},
        {"format": "wav", "path": "/tmp/x"},
    ],
    ids=str,
)
async def test_an_export_that_no_file_can_hold(stage: Stage, body: dict[str, Any]) -> None:
    told = problem(await stage.http.post(f"{stage.url}/export", json=body), 422)
    assert told["errors"]


@pytest.mark.parametrize(
    "odd_id",
    [
        "nothing",
        "%2e%2e",
        ".hidden",
        "a%2Fb",
        "..%2F..%2Fetc%2Fpasswd",
        "a%5Cb",
        "%00",
        "%ff",
        "%F0%9F%8E%B5",
        "%E2%80%AE",
        "x" * 201,
        "x" * 8_000,
        "a%0d%0aSet-Cookie:%20b=c",
        "chain.json",
        "*",
        "%25s",
    ],
    ids=lambda value: value[:20],
)
async def test_an_unknown_id_is_not_found_whatever_it_looks_like(stage: Stage, odd_id: str) -> None:
    paths = [
        ("GET", f"/v1/chains/{odd_id}"),
        ("PATCH", f"/v1/chains/{odd_id}"),
        ("DELETE", f"/v1/chains/{odd_id}"),
        ("GET", f"/v1/chains/{odd_id}/spine"),
        ("GET", f"/v1/chains/{odd_id}/events"),
        ("POST", f"/v1/chains/{odd_id}/nodes"),
        ("POST", f"/v1/chains/{odd_id}/export"),
        ("GET", f"{stage.url}/nodes/{odd_id}"),
        ("GET", f"{stage.url}/nodes/{odd_id}/audio"),
        ("GET", f"{stage.url}/nodes/{odd_id}/original"),
        ("GET", f"{stage.url}/nodes/{odd_id}/provenance"),
        ("POST", f"{stage.url}/nodes/{odd_id}/commit"),
        ("POST", f"{stage.url}/nodes/{odd_id}/discard"),
        ("POST", f"{stage.url}/nodes/{odd_id}/uncommit"),
        ("POST", f"{stage.url}/nodes/{odd_id}/restore"),
        ("GET", f"/v1/jobs/{odd_id}"),
        ("DELETE", f"/v1/jobs/{odd_id}"),
        ("GET", f"/v1/jobs/{odd_id}/events"),
        ("GET", f"/v1/exports/{odd_id}/file"),
    ]
    bodies = {"PATCH": {"title": "x"}, "nodes": {"parent_id": "x"}, "export": {"format": "wav"}}
    for method, path in paths:
        body = bodies.get(method) or bodies.get(path.rpartition("/")[2])
        # As raw bytes, so that no client library quotes it again.
        url = httpx.URL("http://testserver").copy_with(raw_path=path.encode())
        answer = await stage.http.send(httpx.Request(method, url, json=body))
        assert answer.status_code in (404, 405), path
        problem(answer, answer.status_code)
        assert "set-cookie" not in answer.headers


async def test_a_node_is_found_in_its_own_chain_alone() -> None:
    async with running({"mock": MockEngine()}) as app:
        root_id = (await app.generated())["root_id"]
        url = f"/v1/chains/{(await app.generated())['id']}/nodes"
        problem(await app.http.get(f"{url}/{root_id}"), 404)
        problem(await app.http.get(f"{url}/{root_id}/audio"), 404)
        problem(await app.http.post(f"{url}/{root_id}/discard"), 404)
        problem(await app.http.post(url, json={"parent_id": root_id}), 404)


@pytest.mark.parametrize(
    "query",
    [
        *(f"limit={n}" for n in (0, 201, -1, "x", "1e3")),
        *(f"cursor={c}" for c in ("../..", "%00", "9" * 101)),
    ],
)
async def test_a_list_is_asked_for_properly(stage: Stage, query: str) -> None:
    for path in ("/v1/chains", "/v1/jobs"):
        body = problem(await stage.http.get(f"{path}?{query}"), 422)
        assert body["errors"][0]["field"] == f"query.{query.partition('=')[0]}"


async def test_nothing_is_there_and_no_method_fits(stage: Stage) -> None:
    problem(await stage.http.get("/nothing"), 404)
    problem(await stage.http.get("/v1"), 404)
    problem(await stage.http.get("/v1/../etc/passwd"), 404)
    problem(await stage.http.put(stage.url), 405)
    problem(await stage.http.post("/v1/models"), 405)
