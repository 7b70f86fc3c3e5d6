"""What comes is what the OpenAPI document announces: requests made from it, for every operation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from storage.stores.memory import MemoryStore
from tests.support.harness import Running, running, tone, wav

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "a paid key"
KEYS = {"keys": [{"sha256": hashlib.sha256(KEY.encode()).hexdigest(), "tenant": "local", "tier": "paid"}]}
CREDENTIALS: list[dict[str, str]] = [
    {"Authorization": f"Bearer {KEY}"},
    {"X-API-Key": KEY},
    {"X-API-Key": "another"},
    {},
]
PROBLEM = "application/problem+json"
CLIP = wav(tone(0.2, 8000), 8000)
# An example asks every operation: a smaller one tells no more, and takes as long.
EXAMPLES = settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JUNK = st.one_of(st.none(), st.booleans(), st.integers(), TEXT, st.lists(st.integers(), max_size=2))


class Described:
    """An application, its document and the ids that are there."""

    def __init__(self, app: Running, document: Mapping[str, Any], ids: Mapping[str, str]) -> None:
        self.app = app
        self.document = document
        self.ids = ids

    @property
    def operations(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [
            (method, path, operation)
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
        ]

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def values(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        """Values that the schema allows."""
        schema = self.resolved(schema)
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        if "const" in schema:
            return st.just(schema["const"])
        if "anyOf" in schema:
            return st.one_of([self.values(one) for one in schema["anyOf"]])
        match schema.get("type"):
            case "null":
                return st.none()
            case "boolean":
                return st.booleans()
            case "integer":
                return st.integers(*_bounds(schema, 0, 40))
            case "number":
                low, high = _bounds(schema, 0, 3)
                return st.floats(low, min(high, low + 3), allow_nan=False)
            case "array":
                return st.lists(self.values(schema.get("items", {})), max_size=3)
            case "object":
                required = schema.get("required", [])
                fields = {name: self.values(one) for name, one in schema.get("properties", {}).items()}
                return st.fixed_dictionaries(
                    {name: fields[name] for name in required},
                    optional={name: fields[name] for name in fields if name not in required},
                )
            case "string" if "pattern" in schema:
                return st.from_regex(schema["pattern"], fullmatch=True)
            case "string":
                longest = min(30, schema.get("maxLength", 30))
                return st.text(
                    st.characters(exclude_categories=["Cs"]),
                    min_size=schema.get("minLength", 0),
                    max_size=longest,
                )
            case _:
                return JUNK


def _bounds(schema: Mapping[str, Any], low: Any, high: Any) -> tuple[Any, Any]:
    least = schema.get("minimum", schema.get("exclusiveMinimum", low))
    most = schema.get("maximum", schema.get("exclusiveMaximum", high))
    return (least, max(least, min(most, least + 100)))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["keys", "no keys"])
async def described(request: pytest.FixtureRequest) -> AsyncIterator[Described]:
    models: dict[str, Any] = {"separators": {"mock": MockSeparator()}, "analyser": MockAnalyser()}
    store = MemoryStore()
    async with running({"mock": MockEngine()}, store=store, **models) as app:
        chain = await app.upload(CLIP)
        made = await app.branch(chain["id"], chain["root_id"], duration_s=0.5)
        await app.finished(chain["id"], made["nodes"][0]["id"])
        url = f"/v1/chains/{chain['id']}"
        stems = (await app.http.post(f"{url}/nodes/{chain['root_id']}/stems")).json()["job_id"]
        exported = await app.http.post(f"{url}/export", json={"format": "wav"})
        process = (await app.http.post("/process", files={"file": ("a.wav", CLIP)})).json()["job_id"]
        for job_id in (stems, process):
            assert (await app.ended(job_id))["state"] == "succeeded"
    ids = {
        "chain_id": chain["id"],
        "node_id": chain["root_id"],
        "job_id": made["job_id"],
        "export_id": exported.headers["x-segue-export-id"],
        "stem": "vocals",
        "track": "drums",
        "key_id": "0123456789abcdef",
        "process": process,
    }
    overrides = {
        "jobs": {"max_active_per_tenant": 10**6},
        "events": {"max_stream_s": 0.05, "heartbeat_s": 0.05, "poll_s": 0.05},
        "export": {"wait_s": 0.05},
        "access": KEYS if request.param == "keys" else {},
    }
    async with running({"mock": MockEngine()}, store=store, overrides=overrides, work=False, **models) as app:
        yield Described(app, (await app.http.get("/openapi.json")).json(), ids)


async def test_every_operation_tells_its_problems(described: Described) -> None:
    problem = described.document["components"]["schemas"]["Problem"]
    assert set(problem["required"]) == {"type", "title", "status", "detail", "request_id"}
    for method, path, operation in described.operations:
        answers = operation["responses"]
        assert {"400", "421", "500"} <= answers.keys(), path
        for status, answer in answers.items():
            if int(status) >= 400 and path != "/readyz":
                assert answer["content"].keys() == {PROBLEM}, (path, status)
                schema = answer["content"][PROBLEM]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}
                jsonschema.validate(answer["content"][PROBLEM]["example"], problem)
        if method != "get":
            assert "403" in answers, path
        if "requestBody" in operation:
            assert {"413", "422"} <= answers.keys(), path
        if path.startswith("/v1/chains"):
            assert {"401", "503", "507"} <= answers.keys(), path
        if "{" in path:
            assert "404" in answers, path
    assert "503" in described.document["paths"]["/readyz"]["get"]["responses"]
    assert "HTTPValidationError" not in described.document["components"]["schemas"]


async def test_it_says_how_a_key_is_sent(described: Described) -> None:
    schemes = described.document["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert schemes["apiKey"]["name"] == "X-API-Key"
    has_keys = described.app.settings.access.keys != ()
    for _, path, operation in described.operations:
        if path.startswith(("/v1/chains", "/v1/jobs", "/process", "/download", "/generate")):
            ways = [way for way in operation["security"] if way]
            assert ways == [{"bearer": []}, {"apiKey": []}]
            assert ({} in operation["security"]) is not has_keys
    assert "security" not in described.document["paths"]["/livez"]["get"]


def conforms(described: Described, operation: Mapping[str, Any], answer: httpx.Response) -> None:
    """The status and the media type are announced, and what is JSON is as its schema says."""
    assert answer.status_code != 500, answer.text[:400]
    announced = operation["responses"].get(str(answer.status_code))
    assert announced is not None, f"{answer.status_code} is not announced: {answer.text[:300]}"
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    content = announced.get("content", {})
    if not answer.content:
        return
    assert media_type in content, (media_type, content.keys())
    if media_type in ("application/json", PROBLEM):
        schema = {**content[media_type].get("schema", {}), "components": described.document["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())


@EXAMPLES
@given(data=st.data())
async def test_what_comes_is_announced(described: Described, data: st.DataObject) -> None:
    for method, path, operation in described.operations:
        url = path
        for name in re.findall(r"\{(\w+)\}", path):
            known = described.ids["process" if path.startswith(("/job/", "/download/")) else name]
            if method == "delete" or "discard" in path:
                known = "nothing"  # what is there stays for the other operations
            part = data.draw(st.one_of(st.just(known), st.just(known), TEXT.filter(bool)), name)
            url = url.replace(f"{{{name}}}", quote(part, safe=""))
        if "/../" in url or "/./" in url or url.endswith(("/.", "/..")):
            continue  # clients resolve these themselves: it is another path
        query: dict[str, Any] = {}
        headers = dict(data.draw(st.sampled_from(CREDENTIALS), "credentials"))
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path" or not data.draw(st.booleans(), parameter["name"]):
                continue
            value = data.draw(st.one_of(described.values(parameter["schema"]), JUNK), parameter["name"])
            if parameter["in"] == "query":
                query[parameter["name"]] = value
            elif value is not None:
                headers[parameter["name"]] = quote(str(value))
        sent: dict[str, Any] = {}
        content = operation.get("requestBody", {}).get("content", {})
        if content:
            kind = data.draw(st.sampled_from(sorted(content)), "body")
            schema = described.resolved(content[kind]["schema"])
            if kind == "application/json":
                body = data.draw(st.one_of(described.values(schema), JUNK), "json")
                if isinstance(body, dict) and "parent_id" in body:
                    body["parent_id"] = described.ids["node_id"]
                if isinstance(body, dict):
                    body.pop("model", None)
                sent = {"content": json.dumps(body)}
                headers["Content-Type"] = kind
            else:
                fields = {k: v for k, v in schema["properties"].items() if k != "file"}
                drawn = data.draw(described.values({"type": "object", "properties": fields}), "form")
                file = data.draw(st.sampled_from([CLIP, CLIP[:100], b"", b"no audio"]), "file")
                texts = {k: str(v) for k, v in drawn.items() if v is not None}
                sent = {"files": {"file": ("clip.wav", file)}, "data": texts}
        answer = await described.app.http.request(method.upper(), url, params=query, headers=headers, **sent)
        try:
            conforms(described, operation, answer)
        except (AssertionError, jsonschema.ValidationError) as error:
            raise AssertionError(f"{method} {url} {query} {sent}: {error}") from error
