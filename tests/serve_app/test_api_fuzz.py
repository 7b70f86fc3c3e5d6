"""Whatever is thrown at a route, the fault is never the server's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.engines.music.mock import MockEngine
from deployments.engines.music.protocol import GenerationMode
from deployments.export.formats import FORMATS
from serve_app.chains.schemas import ChainPatch, NewChain, NewNodes
from serve_app.exports.schemas import NewExport
from storage.stores.memory import MemoryStore
from tests.support.harness import Running, problem, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANY_TEXT = st.text(st.characters(), max_size=40)  # half surrogate pairs too
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([0, -1, 2**32, 2**64, 1e308, 10**400]))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, ANY_TEXT)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(ANY_TEXT, inner, max_size=4)),
    max_leaves=12,
)
FIELDS = sorted(
    {
        *NewNodes.model_fields,
        *NewChain.model_fields,
        *(field.alias or name for name, field in NewExport.model_fields.items()),
        *ChainPatch.model_fields,
    }
)
NEARLY_RIGHT = st.one_of(
    SCALARS,
    st.floats(0.5, 2),
    st.integers(0, 8),
    st.sampled_from([*GenerationMode, *FORMATS, "mock", "root"]),
)
BODIES = st.one_of(VALUES, st.dictionaries(st.sampled_from([*FIELDS, "extra"]), NEARLY_RIGHT, max_size=8))
QUICK = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


class Target:
    """An application and one ready chain of it."""

    def __init__(self, app: Running, chain: dict[str, Any]) -> None:
        self.http = app.http
        self.url = f"/v1/chains/{chain['id']}"
        self.root_id: str = chain["root_id"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target() -> AsyncIterator[Target]:
    overrides = {"jobs": {"max_active_per_tenant": 10**6}}
    store = MemoryStore()
    async with running({"mock": MockEngine()}, store=store) as app:
        chain = await app.generated()
    # What is accepted from here on is only kept: no test waits for it.
    async with running({"mock": MockEngine()}, store=store, overrides=overrides, work=False) as app:
        yield Target(app, chain)


def blameless(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text[:400]
    if answer.status_code >= 400:
        problem(answer, answer.status_code)


@QUICK
@given(body=BODIES)
async def test_any_json_at_every_route_that_takes_json(target: Target, body: object) -> None:
    if isinstance(body, dict) and body.get("parent_id") == "root":
        body = {**body, "parent_id": target.root_id}
    content = json.dumps(body)
    for method, path in (
        ("POST", "/v1/chains"),
        ("POST", f"{target.url}/nodes"),
        ("PATCH", target.url),
        ("POST", f"{target.url}/export"),
        ("POST", f"{target.url}/nodes/{target.root_id}/commit"),
        ("POST", f"{target.url}/nodes/{target.root_id}/discard"),
        ("POST", f"{target.url}/nodes/{target.root_id}/uncommit"),
        ("POST", f"{target.url}/nodes/{target.root_id}/restore"),
    ):
        headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
        blameless(await target.http.request(method, path, content=content, headers=headers))


@QUICK
@given(
    content=st.binary(max_size=300),
    content_type=st.sampled_from(
        [
            "application/json",
            "application/json; charset=utf-16",
            "multipart/form-data; boundary=b",
            "text/plain",
            "",
        ]
    ),
)
async def test_any_bytes_as_a_body(target: Target, content: bytes, content_type: str) -> None:
    for path in ("/v1/chains", f"{target.url}/nodes", f"{target.url}/export"):
        blameless(await target.http.post(path, content=content, headers={"Content-Type": content_type}))


@QUICK
@given(
    values=st.dictionaries(
        st.sampled_from(["limit", "cursor", "format", "last_event_id", "x"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
        max_size=4,
    ),
    header=st.binary(max_size=40).filter(lambda value: not any(byte in b"\r\n\0" for byte in value)),
)
async def test_any_query_and_header(target: Target, values: dict[str, str], header: bytes) -> None:
    names = (b"range", b"if-none-match", b"if-range", b"prefer", b"x-request-id", b"last-event-id")
    headers = [(name, header) for name in names]
    for path in ("/v1/chains", "/v1/jobs", f"{target.url}/nodes/{target.root_id}/audio"):
        if values.get("format") not in ("mp3", "flac"):
            blameless(await target.http.get(path, params=values, headers=headers))


@QUICK
@given(odd_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
async def test_any_id(target: Target, odd_id: str) -> None:
    quoted = "".join(f"%{byte:02X}" for byte in odd_id.encode())
    for method, path in (
        ("GET", f"/v1/chains/{quoted}"),
        ("DELETE", f"/v1/chains/{quoted}"),
        ("GET", f"{target.url}/nodes/{quoted}"),
        ("GET", f"/v1/jobs/{quoted}"),
        ("DELETE", f"/v1/jobs/{quoted}"),
        ("GET", f"/v1/exports/{quoted}/file"),
    ):
        answer = await target.http.request(method, path)
        blameless(answer)
        assert answer.status_code in (307, 404, 405)


@QUICK
@given(
    key=st.binary(min_size=1, max_size=300).filter(lambda value: not any(byte in b"\r\n\0" for byte in value))
)
async def test_any_idempotency_key(target: Target, key: bytes) -> None:
    answer = await target.http.post(
        f"{target.url}/nodes", json={"parent_id": target.root_id}, headers=[(b"idempotency-key", key)]
    )
    blameless(answer)
    assert answer.status_code in (202, 422)
