"""Records that are damaged, half written or newer: each spoils only itself, is shown as such, and can be
deleted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from deployments.engines.music.mock import MockEngine
from storage import paths
from tests.support.harness import Running, problem, running, tone, wav

TENANT = "local"


def record(**changes: Any) -> Callable[[bytes], bytes]:
    def damage(document: bytes) -> bytes:
        envelope = json.loads(document)
        envelope["record"].update(changes)
        return json.dumps(envelope).encode()

    return damage


def without(field: str) -> Callable[[bytes], bytes]:
    def damage(document: bytes) -> bytes:
        envelope = json.loads(document)
        del envelope["record"][field]
        return json.dumps(envelope).encode()

    return damage


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda document: b"",
    "half written": lambda document: document[: len(document) // 2],
    "zeros": lambda document: b"\0" * len(document),
    "a list": lambda document: b"[]",
    "another envelope": lambda document: b'{"record": 1, "write_ids": []}',
    "nested too deep": lambda document: b"[" * 100_000,
    "no text": lambda document: b"\xff\xfe" + document,
    "newer": record(format_version=99),
    "format 0": record(format_version=0),
    "format as text": record(format_version="3"),
    "no creation time": without("created_at"),
    "time is no time": record(created_at="yesterday"),
    "another tenant": record(tenant="other"),
    "another id": record(id="0" * 24),
}
OF_CHAINS = {
    **DAMAGE,
    "version is NaN": record(version=float("nan")),
    "version is text": record(version="7"),
    "title is a number": record(title=7),
    "nodes are lost": record(nodes=[]),
    "a node is no object": record(nodes=[7]),
}
OF_JOBS = {**DAMAGE, "no such kind": record(kind="dance"), "params are text": record(params="x")}


@pytest.fixture
async def app() -> AsyncIterator[Running]:
    async with running({"mock": MockEngine()}) as made:
        yield made


async def damage(app: Running, key: str, how: Callable[[bytes], bytes]) -> None:
    await app.store.put(key, how((await app.store.get(key)).data))


@pytest.mark.parametrize("how", OF_CHAINS)
async def test_a_damaged_chain_is_seen_as_damaged_hides_no_other_and_can_be_deleted(
    app: Running, how: str
) -> None:
    good, bad = await app.upload(wav(tone(0.5))), await app.upload(wav(tone(0.5)))
    await damage(app, paths.chain(TENANT, bad["id"]), OF_CHAINS[how])
    listed = (await app.http.get("/v1/chains")).json()
    assert [chain["id"] for chain in listed["chains"]] == [good["id"]]
    [entry] = listed["damaged"]
    assert (entry["id"], entry["state"]) == (bad["id"], "damaged")
    assert ("newer version" if how == "newer" else "damaged") in entry["reason"]
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/events", None),
        ("GET", f"/nodes/{bad['root_id']}/audio", None),
        ("PATCH", "", {"title": "new"}),
        ("POST", "/nodes", {"parent_id": bad["root_id"], "duration_s": 0.5}),
    ):
        answer = await app.http.request(method, f"/v1/chains/{bad['id']}{path}", json=body)
        told = problem(answer, 500)
        assert told["type"].endswith(":record-damaged")
        assert "tenants/" not in answer.text
    assert (await app.http.get("/v1/jobs")).status_code == 200
    assert (await app.http.delete(f"/v1/chains/{bad['id']}")).status_code == 204
    assert (await app.http.get("/v1/chains")).json()["damaged"] == []
    problem(await app.http.get(f"/v1/chains/{bad['id']}"), 404)
    problem(await app.http.delete(f"/v1/chains/{bad['id']}"), 404)
    made = await app.branch(good["id"], good["root_id"], duration_s=0.5)
    assert (await app.finished(good["id"], made["nodes"][0]["id"]))["status"] == "ready"


@pytest.mark.parametrize("how", OF_JOBS)
async def test_a_damaged_job_is_seen_as_damaged_hides_no_other_and_can_be_ended(
    app: Running, how: str
) -> None:
    chain = await app.generated()
    [good, bad] = (await app.branch(chain["id"], chain["root_id"], duration_s=0.5, takes=2))["job_ids"]
    await app.ended(good)
    await app.ended(bad)
    await app.rest()
    await damage(app, paths.job(TENANT, bad), OF_JOBS[how])
    listed = (await app.http.get("/v1/jobs")).json()
    assert good in {job["id"] for job in listed["jobs"]}
    assert [(job["id"], job["state"]) for job in listed["damaged"]] == [(bad, "damaged")]
    assert problem(await app.http.get(f"/v1/jobs/{bad}"), 500)["type"].endswith(":record-damaged")
    assert (await app.http.get(f"/v1/chains/{chain['id']}")).status_code == 200
    ended = await app.http.delete(f"/v1/jobs/{bad}")
    assert (ended.status_code, ended.json()["state"]) == (200, "failed")
    listed = (await app.http.get("/v1/jobs")).json()
    assert listed["damaged"] == []
    assert {good, bad} <= {job["id"] for job in listed["jobs"]}


AUDIO_ROUTES = ("audio", "audio?format=flac", "original")


async def test_audio_that_is_not_what_was_stored_is_never_sent_as_if_it_were(app: Running) -> None:
    """A bit that flips on the disk, after the same audio was read many times: no answer carries it to its end."""
    chain = await app.upload(wav(tone(0.5)))
    node = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}"
    for route in AUDIO_ROUTES:
        assert (await app.http.get(f"{node}/{route}")).status_code == 200
        assert (await app.http.get(f"{node}/{route}")).status_code == 200

    def flipped(data: bytes) -> bytes:
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]

    for key in await app.keys():
        if "/blobs/" in key:
            await damage(app, key, flipped)
    for route in AUDIO_ROUTES:
        answer = await app.http.get(f"{node}/{route}")
        assert problem(answer, 500)["type"].endswith(":audio-damaged"), route
        assert "tenants/" not in answer.text
    exported = await app.http.post(f"/v1/chains/{chain['id']}/export", json={"format": "wav"})
    assert exported.status_code >= 400
    take = (await app.branch(chain["id"], chain["root_id"], duration_s=0.5))["nodes"][0]["id"]
    assert (await app.finished(chain["id"], take))["status"] == "failed"
