"""Every error answer is a problem: one shape, a stable type, an id to find it by, nothing of the inside."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from serve_app.http import errors
from serve_app.http.errors import Problem, install_error_handlers, problem_responses, translate
from serve_app.http.middleware import RequestContextMiddleware
from serve_app.http.problems import PROBLEM_SCHEMA
from storage.domain.jobs import JobNotFound
from storage.domain.model import ChainDeleted, ChainNotFound, Fenced, NodeNotFound, Refused
from storage.stores.object_store import BadKey, ObjectNotFound, PreconditionFailed, StoreUnavailable


class Branch(BaseModel):
    model_config = ConfigDict(extra="forbid")
    duration_s: float = Field(ge=0.5, le=30)
    prompts: list[str] = []

    @field_validator("prompts")
    @classmethod
    def not_shouted(cls, prompts: list[str]) -> list[str]:
        if any(prompt.isupper() for prompt in prompts):
            raise ValueError("no shouting")
        return prompts


def app_that_raises(error: Exception) -> FastAPI:
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    @app.post("/branch")
    async def branch(body: Branch) -> Branch:
        return body

    @app.get("/list")
    async def listed(limit: Annotated[int, Query(le=100)] = 10) -> int:
        return limit

    return app


def client(app: FastAPI, **kwargs: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test", **kwargs)


async def answer_to(error: Exception) -> httpx.Response:
    async with client(app_that_raises(error)) as http:
        return await http.get("/")


async def post_branch(content: bytes) -> httpx.Response:
    async with client(app_that_raises(RuntimeError())) as http:
        return await http.post("/branch", content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize(
    ("problem", "status", "code"),
    [
        (errors.BadRequest("x"), 400, "bad-request"),
        (errors.NotFound("x"), 404, "not-found"),
        (errors.NotAcceptable("x"), 406, "not-acceptable"),
        (errors.Conflict("x", code="not-ready"), 409, "not-ready"),
        (errors.PayloadTooLarge(64), 413, "content-too-large"),
        (errors.UnsupportedMediaType("x"), 415, "unsupported-media-type"),
        (errors.RangeNotSatisfiable(10), 416, "range-not-satisfiable"),
        (errors.MisdirectedHost("x"), 421, "misdirected-request"),
        (errors.Unprocessable("x"), 422, "unprocessable-content"),
        (errors.IdempotencyMismatch("x"), 422, "idempotency-mismatch"),
        (errors.TooManyRequests("x", retry_after_s=1), 429, "too-many-requests"),
        (errors.Unavailable("x"), 503, "service-unavailable"),
        (errors.GatewayTimeout("x"), 504, "gateway-timeout"),
        (Problem("x", status=402), 402, "payment-required"),
    ],
)
async def test_a_raised_problem_is_the_answer(problem: Problem, status: int, code: str) -> None:
    response = await answer_to(problem)
    body = response.json()
    assert response.status_code == body["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert body["type"] == f"urn:segue:problem:{code}"
    assert body["title"]
    assert body["detail"] == problem.detail
    assert body["request_id"]


async def test_members_and_headers_go_out_but_cannot_replace_the_standard_ones() -> None:
    problem = Problem("x", status=409, headers={"X-Node": "n1"}, members={"node": "n1", "status": 200})
    response = await answer_to(problem)
    assert response.headers["x-node"] == "n1"
    assert response.json()["node"] == "n1"
    assert response.json()["status"] == 409


async def test_a_size_limit_is_named_in_megabytes_and_bytes() -> None:
    body = (await answer_to(errors.PayloadTooLarge(30 * 2**20))).json()
    assert body["detail"] == "The file is over the limit of 30 MiB (31457280 bytes)."
    assert body["limit_bytes"] == 31457280


@pytest.mark.parametrize(
    "error", [errors.TooManyRequests("x", retry_after_s=0.2), StoreUnavailable("host:9000")]
)
async def test_what_passes_says_when_to_try_again_in_whole_seconds(error: Exception) -> None:
    assert int((await answer_to(error)).headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NodeNotFound("n1"), 404),
        (ChainNotFound("c1"), 404),
        (ChainDeleted("c1"), 404),
        (JobNotFound("j1"), 404),
        (Refused("the parent is discarded"), 409),
        (Fenced("n1"), 409),
        (ObjectNotFound("tenants/secret/key"), 404),
        (BadKey("tenants/secret/key"), 404),
        (StoreUnavailable("tenants/secret/key at 10.0.0.7"), 503),
        (PreconditionFailed("tenants/secret/key"), 500),
    ],
)
async def test_domain_and_store_errors_have_their_status_and_the_store_keeps_its_keys(
    error: Exception, status: int
) -> None:
    response = await answer_to(error)
    assert response.status_code == response.json()["status"] == status
    assert "secret" not in response.text
    assert "10.0.0.7" not in response.text


async def test_a_refusal_tells_why() -> None:
    assert (await answer_to(Refused("the parent is discarded"))).json()["detail"] == "the parent is discarded"


def test_a_fault_of_the_server_is_not_translated() -> None:
    assert translate(KeyError("x")) is None
    assert translate(PreconditionFailed("k")) is None


async def test_an_unexpected_error_is_logged_with_its_traceback_and_answered_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, "segue.errors"):
        response = await answer_to(OSError(2, "No such file", "/srv/segue/weights.bin"))
    assert response.status_code == 500
    assert "weights" not in response.text
    assert "Traceback" not in response.text
    (record,) = caplog.records
    assert response.json()["request_id"] in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is FileNotFoundError


async def test_a_browser_may_read_a_500_and_the_request_id_is_the_same_everywhere() -> None:
    app = app_that_raises(RuntimeError())
    app.add_middleware(CORSMiddleware, allow_origins=["https://studio.example"])
    app.add_middleware(RequestContextMiddleware)
    async with client(app) as http:
        response = await http.get("/", headers={"origin": "https://studio.example", "x-request-id": "r-1"})
    assert response.status_code == 500
    assert response.headers["access-control-allow-origin"] == "https://studio.example"
    assert response.headers["x-request-id"] == response.json()["request_id"] == "r-1"


async def test_an_answer_that_breaks_off_ends_in_an_error_not_in_a_short_success(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = app_that_raises(RuntimeError())

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"first"
            raise Refused("too late to say so")

        return StreamingResponse(chunks())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        with pytest.raises(RuntimeError):
            await http.get("/stream")
    assert [record.name for record in caplog.records].count("segue.errors") == 1


async def test_an_unknown_route_is_a_problem() -> None:
    async with client(app_that_raises(RuntimeError())) as http:
        response = await http.get("/nowhere")
    assert response.status_code == 404
    assert response.json()["type"] == "urn:segue:problem:not-found"


async def test_a_wrong_method_is_a_problem_that_says_which_are_right() -> None:
    async with client(app_that_raises(RuntimeError())) as http:
        response = await http.delete("/list")
    assert response.status_code == 405
    assert response.json()["type"] == "urn:segue:problem:method-not-allowed"
    assert response.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "duration_s", "Field required"),
        ({"duration_s": 31}, "duration_s", "Input should be less than or equal to 30"),
        ({"duration_s": 5, "prompts": ["calm", 7]}, "prompts.1", "Input should be a valid string"),
        ({"duration_s": 5, "prompts": ["LOUD"]}, "prompts", "no shouting"),
        ({"duration_s": 5, "path": "/etc"}, "path", "there is no such field; it is not permitted"),
        ([], "body", "Input should be a valid dictionary or object to extract fields from"),
    ],
)
async def test_a_wrong_field_is_named(body: Any, field: str, message: str) -> None:
    response = await post_branch(json.dumps(body).encode())
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": field, "message": message}]
    assert response.json()["detail"] == f"{field}: {message}"


async def test_a_wrong_query_parameter_is_named_with_its_place() -> None:
    async with client(app_that_raises(RuntimeError())) as http:
        response = await http.get("/list", params={"limit": "many"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "query.limit"


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
async def test_a_number_that_json_cannot_hold_is_refused_in_json(number: bytes) -> None:
    response = await post_branch(b'{"duration_s": %s}' % number)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "duration_s"


async def test_half_a_surrogate_pair_is_answered() -> None:
    assert (await post_branch(rb'{"duration_s": 5, "\ud800": 1}')).status_code == 422
    assert (await answer_to(Refused("no take \ud800"))).json()["detail"] == "no take \ud800"


async def test_thousands_of_wrong_fields_do_not_make_a_large_answer() -> None:
    response = await post_branch(json.dumps({"k" * 1000 + str(i): i for i in range(2000)}).encode())
    assert response.status_code == 422
    assert len(response.content) < 10_000
    assert "(and 2000 more)" in response.json()["detail"]


@pytest.mark.parametrize(
    "content",
    [b"{", b"{'duration_s': 5}", b"\xff\xfe", b"[" * 100_000, b'{"duration_s": ' + b"9" * 5000 + b"}"],
    ids=["cut", "quotes", "not-utf8", "deep", "long-number"],
)
async def test_a_body_that_is_no_json_is_a_bad_request(content: bytes) -> None:
    response = await post_branch(content)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"


async def test_malformed_json_says_what_and_where() -> None:
    body = (await post_branch(b'{"duration_s": }')).json()
    assert body["type"] == "urn:segue:problem:malformed-json"
    assert body["detail"] == "The body is not valid JSON: Expecting value (character 15)."


async def test_a_client_that_hangs_up_gets_no_500(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()
    install_error_handlers(app)

    @app.post("/")
    async def read(request: Request) -> int:
        return len(await request.body())

    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    with caplog.at_level(logging.INFO, "segue.errors"):
        await app(scope, receive, send)
    assert sent[0]["status"] == 499
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_openapi_shows_each_problem_with_an_example() -> None:
    app = FastAPI()

    @app.post("/", responses=problem_responses(404, 413, 422, 402))
    async def route(body: Branch) -> Branch:
        return body

    responses = app.openapi()["paths"]["/"]["post"]["responses"]
    assert set(responses) == {"200", "402", "404", "413", "422"}
    for status in ("402", "404", "413", "422"):
        content = responses[status]["content"]["application/problem+json"]
        assert content["example"]["status"] == int(status)
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert set(PROBLEM_SCHEMA["required"]) <= set(content["example"]) <= set(PROBLEM_SCHEMA["properties"])
