"""HEAD, the methods of a path, numbers that are none, fields that are none, and what caches are told."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from deployments.engines.music.mock import MockEngine
from serve_app.playback.live_response import LiveFormat, accepted
from storage import paths
from tests.support.harness import problem, running, tone, wav


async def _head_as_get(http: httpx.AsyncClient, path: str, **headers: str) -> httpx.Response:
    head, get = await http.head(path, headers=headers), await http.get(path, headers=headers)
    assert head.content == b""
    assert head.status_code == get.status_code, path
    passing = {"date", "x-request-id"}
    told = {name: value for name, value in get.headers.items() if name not in passing}
    heard = {name: value for name, value in head.headers.items() if name not in passing}
    if get.status_code >= 400:  # each problem has its own request id in it
        told.pop("content-length"), heard.pop("content-length")
    assert heard == told, path
    return head


async def test_every_get_route_answers_head_as_get() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated(title="A title")
        node = chain["nodes"][0]
        values = {"chain_id": chain["id"], "node_id": chain["root_id"], "job_id": node["job_id"]}
        routes = [r for r in app.api.state.routes if isinstance(r, APIRoute) and "GET" in r.methods]
        assert len(routes) > 20
        for route in routes:
            path = route.path
            for name in route.param_convertors:
                path = path.replace(f"{{{name}}}", values.get(name, "nothing"))
            if path.endswith("/events"):
                head = await app.http.head(path)
                assert head.status_code == 200
                assert head.headers["content-type"].startswith("text/event-stream")
            else:
                await _head_as_get(app.http, path)
        assert int((await app.http.head("/readyz")).headers["content-length"]) > 0


@pytest.mark.parametrize("audio_format", ["wav", "f32", "l16"])
async def test_head_of_a_take_that_is_being_made_tells_its_length(audio_format: str) -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        chain = await app.upload(wav(tone(1.0)))
        job_id = (await app.branch(chain["id"], chain["root_id"], duration_s=1.5))["job_id"]
        path = f"/v1/jobs/{job_id}/audio?format={audio_format}"
        head = await app.http.head(path)
        app.worker.start()
        await app.ended(job_id)
        made = await app.http.get(path)
        assert int(head.headers["content-length"]) == len(made.content) > 100_000
        assert head.headers["content-type"] == made.headers["content-type"]


async def test_head_of_a_take_of_unknown_format_tells_no_length() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        made = await app.http.post("/v1/chains", json={"prompt": "x"})
        head = await app.http.head(f"/v1/jobs/{made.json()['job_id']}/audio")
        assert head.status_code == 200
        assert "content-length" not in head.headers


async def test_a_405_names_all_methods_of_its_path() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        for path, methods in (
            ("/v1/chains", "GET, HEAD, POST"),
            ("/v1/chains/x", "DELETE, GET, HEAD, PATCH"),
            ("/v1/jobs/x", "DELETE, GET, HEAD"),
            ("/generate", "POST"),
        ):
            answer = await app.http.put(path)
            problem(answer, 405)
            assert answer.headers["allow"] == methods


async def test_a_post_knows_no_range_and_no_condition() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated(title="Night drive")
        url = f"/v1/chains/{chain['id']}/export"
        whole = await app.http.post(url, json={"format": "wav"})
        headers = {"Range": "bytes=0-9", "If-None-Match": whole.headers["etag"]}
        again = await app.http.post(url, json={"format": "wav"}, headers=headers)
        assert (again.status_code, again.content) == (200, whole.content)
        assert whole.headers["x-segue-clipped-samples"] == "0"
        assert 'filename="Night drive.wav"' in whole.headers["content-disposition"]
        location = whole.headers["content-location"]
        assert "immutable" in (await app.http.get(location)).headers["cache-control"]
        node = await app.http.get(chain["nodes"][0]["audio"]["url"])
        assert node.headers["cache-control"] == "private, no-cache"
        assert f'filename="Night drive-{chain["root_id"][:8]}.wav"' in node.headers["content-disposition"]


@pytest.mark.parametrize("with_key", [True, False])
async def test_an_export_that_was_collected_is_made_again(with_key: bool) -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        url, headers = f"/v1/chains/{chain['id']}/export", {"Idempotency-Key": "one"} if with_key else {}
        first = await app.http.post(url, json={"format": "wav"}, headers=headers)
        export_id = first.headers["x-segue-export-id"]
        await app.store.delete(paths.export("local", export_id))
        problem(await app.http.get(f"/v1/exports/{export_id}/file"), 404)
        again = await app.http.post(url, json={"format": "wav"}, headers=headers)
        assert (again.status_code, again.content) == (200, first.content)
        third = await app.http.post(url, json={"format": "wav"}, headers=headers)
        assert third.content == first.content


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("audio/L16", LiveFormat.L16),
        ("audio/L16;q=0", LiveFormat.WAV),
        ("audio/L16; q=0.0, audio/wav", LiveFormat.WAV),
        ("audio/L16;q=0.4, audio/wav;q=0.5", LiveFormat.WAV),
        ("audio/wav;q=0.4, audio/L16;q=0.5", LiveFormat.L16),
        ("audio/wav;q=0, audio/L16", LiveFormat.L16),
        ("text/html, */*;q=0.1", LiveFormat.WAV),
        ("audio/L16;q=nonsense, audio/wav", LiveFormat.WAV),
        ("", LiveFormat.WAV),
    ],
)
def test_what_is_accepted_is_weighed(header: str, wanted: LiveFormat) -> None:
    assert accepted(header) is wanted


@pytest.mark.parametrize("value", [True, False, "7", "x", [7], {"a": 1}, 1.5, -1, 2**32])
async def test_only_a_number_is_a_seed(value: Any) -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        chain = await app.upload(wav(tone(1.0)))
        node = f"/v1/chains/{chain['id']}/nodes"
        for path, body in (
            (node, {"parent_id": chain["root_id"]}),
            ("/v1/chains", {"prompt": "x"}),
            ("/generate", {"prompt": "x"}),
            (f"{node}/{chain['root_id']}/stems", {}),
            ("/continue", {"audio_path": "x.wav"}),
        ):
            refused = problem(await app.http.post(path, json={**body, "seed": value}), 422)
            assert refused["errors"][0]["field"].startswith("seed"), path


async def test_a_field_that_does_not_exist_is_named() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        clip = {"file": ("clip.wav", wav(tone(1.0)))}
        for answer, field in (
            (await app.http.post("/generate", json={"prompt": "x", "durration": 3}), "durration"),
            (await app.http.post("/continue", json={"audio_path": "x", "duration": 9}), "duration"),
            (await app.http.post("/compose", files=clip, data={"sed": "3"}), "sed"),
            (await app.http.post("/analyze", files=clip, data={"melodie": "true"}), "melodie"),
            (await app.http.post("/v1/chains", files=clip, data={"titel": "x"}), "titel"),
        ):
            assert [error["field"] for error in problem(answer, 422)["errors"]] == [field]
        long = problem(await app.http.post("/generate", json={"prompt": "x" * 1001}), 422)
        assert long["errors"] == [{"field": "prompt", "message": "may have at most 1000 characters"}]
        title = problem(await app.http.post("/v1/chains", files=clip, data={"title": "x" * 201}), 422)
        assert title["detail"] == "the title may have at most 200 characters"


async def test_a_length_that_is_refused_is_told_as_it_was_asked_for() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        body = {"prompt": "x", "duration_s": 300.0001}
        assert "not 300.0001" in problem(await app.http.post("/v1/chains", json=body), 422)["detail"]


async def test_duration_s_is_understood_where_duration_is() -> None:
    async with running({"mock": MockEngine()}) as app:
        made = await app.http.post("/generate", json={"prompt": "x", "duration_s": 1})
        assert made.headers["x-segue-loop-samples"] == "32000"


async def test_lists_within_lists_are_no_stems() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        clip = {"file": ("clip.wav", wav(tone(1.0)))}
        answer = await app.http.post("/process", files=clip, data={"stems": "[" * 30_000})
        assert answer.status_code == 422
        problem(answer, 422)


async def test_a_request_id_is_no_path_in_the_tools_log(tmp_path: Path) -> None:
    overrides = {"tools": {"logs": True, "logs_folder": str(tmp_path / "in" / "logs")}}
    async with running({"mock": MockEngine()}, overrides=overrides) as app:
        made = await app.http.post(
            "/generate", json={"prompt": "x", "duration": 1}, headers={"X-Request-ID": "/../../../x"}
        )
        assert made.status_code == 200
    folders = await asyncio.to_thread(lambda: [path for path in tmp_path.rglob("*") if path.is_dir()])
    assert {path.parent for path in folders} == {tmp_path, tmp_path / "in", tmp_path / "in" / "logs"}


async def test_a_file_with_the_longest_name_is_continued(tmp_path: Path) -> None:
    overrides = {"tools": {"folder": str(tmp_path)}}
    async with running({"mock": MockEngine()}, overrides=overrides) as app:
        for stem in ("x" * 251, "ä" * 125):
            (tmp_path / f"{stem}.wav").write_bytes(wav(tone(1.0)))
            answer = await app.http.post("/continue", json={"audio_path": f"{stem}.wav", "duration_s": 5})
            assert answer.status_code == 200, answer.text
            assert (tmp_path / answer.json()["audio_path"]).is_file()


async def test_continue_keeps_tenants_apart(tmp_path: Path) -> None:
    keys = [{"sha256": hashlib.sha256(name.encode()).hexdigest(), "tenant": name} for name in ("one", "two")]
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "clip.wav").write_bytes(wav(tone(1.0)))
    (tmp_path / "clip.wav").write_bytes(wav(tone(1.0)))
    overrides = {"tools": {"folder": str(tmp_path)}, "access": {"keys": keys}}
    async with running({"mock": MockEngine()}, overrides=overrides) as app:

        async def ask(key: str, path: str) -> httpx.Response:
            body = {"audio_path": path, "duration_s": 5}
            return await app.http.post("/continue", json=body, headers={"X-API-Key": key})

        problem(await app.http.post("/continue", json={"audio_path": "clip.wav"}), 401)
        assert (await ask("one", "clip.wav")).status_code == 200
        assert (await ask("one", str(tmp_path / "one" / "clip.wav"))).status_code == 200
        problem(await ask("one", "../clip.wav"), 403)
        problem(await ask("one", str(tmp_path / "clip.wav")), 403)
        problem(await ask("two", str(tmp_path / "one" / "clip.wav")), 403)
        problem(await ask("two", "clip.wav"), 404)
        gpu = (await app.http.get("/v1/gpu")).json()
        assert gpu["jobs"] == {"unfinished": None, "waiting": None}
        known = (await app.http.get("/v1/gpu", headers={"X-API-Key": "one"})).json()
        assert known["jobs"] == {"unfinished": None, "waiting": None}  # an operator's alone
