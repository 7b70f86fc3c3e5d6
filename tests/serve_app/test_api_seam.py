"""How a take is joined, over HTTP: what may be asked for, what is recorded, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deployments.engines.music.mock import MockEngine
from tests.support.clips import encoded, music
from tests.support.harness import Running, problem, running


@pytest.fixture
async def app() -> AsyncIterator[Running]:
    async with running({"mock": MockEngine()}) as application:
        yield application


async def _chain(app: Running) -> dict[str, str]:
    made = await app.upload(encoded(music(2.0), 44_100, "wav"))
    return {"id": made["id"], "root": made["root_id"]}


async def test_a_seam_is_asked_for_recorded_and_made_again(app: Running) -> None:
    chain = await _chain(app)
    base = f"/v1/chains/{chain['id']}/nodes"
    usual = (await app.branch(chain["id"], chain["root"], seed=3))["nodes"][0]
    wanted = {"align": "none", "crossfade_s": 0.02, "match_loudness": False}
    other = (await app.branch(chain["id"], chain["root"], seed=3, **wanted))["nodes"][0]
    nodes = [await app.finished(chain["id"], node["id"]) for node in (usual, other)]
    assert [node["status"] for node in nodes] == ["ready", "ready"]
    assert [node["audio"]["samples"] for node in nodes] == [44_100, 44_100]
    shown = [{name: node["params"][name] for name in wanted} for node in nodes]
    assert shown == [{"align": "phase", "crossfade_s": 0.15, "match_loudness": True}, wanted]
    told = [(await app.http.get(f"{base}/{node['id']}/provenance")).json() for node in nodes]
    assert [each["params"]["align"] for each in told] == ["phase", "none"]
    assert [each["lead_in_s"] for each in told] == [0.15, 0.02]
    assert told[0]["seam"]["target_lufs"] is not None
    assert told[1]["seam"]["gain_db"] == told[1]["gain_db"] == 0.0
    again = await app.branch(chain["id"], chain["root"], seed=told[0]["seed"], **told[0]["params"])
    made = await app.finished(chain["id"], again["nodes"][0]["id"])
    assert made["audio"]["sha256"] == nodes[0]["audio"]["sha256"]
    for node in nodes:
        live = await app.http.get(f"/v1/jobs/{node['job_id']}/audio")
        kept = await app.http.get(node["audio"]["url"])
        assert live.content == kept.content


@pytest.mark.parametrize(
    ("wanted", "field", "words"),
    [
        ({"align": "bar"}, "align", "'none', 'phase' or 'beat'"),
        ({"crossfade_s": -0.1}, "crossfade_s", "greater than or equal to 0"),
        ({"crossfade_s": 1.2}, "crossfade_s", "no longer than the take, 1 seconds"),
        ({"crossfade_s": 2.5, "duration_s": 5.0}, "crossfade_s", "at most 2 seconds"),
        ({"crossfade_s": 0.004}, "crossfade_s", "0.01 seconds or more, or 0 for none"),
        ({"crossfade_s": "long"}, "crossfade_s", "number"),
        ({"match_loudness": 1}, "match_loudness", "true or false"),
    ],
)
async def test_a_seam_that_cannot_be_made_is_refused(
    app: Running, wanted: dict[str, object], field: str, words: str
) -> None:
    chain = await _chain(app)
    answer = await app.http.post(
        f"/v1/chains/{chain['id']}/nodes",
        json={"parent_id": chain["root"], "duration_s": 1.0, "takes": 2, **wanted},
    )
    body = problem(answer, 422)
    assert [(error["field"], words in error["message"]) for error in body["errors"]] == [(field, True)]
    assert len((await app.chain(chain["id"]))["nodes"]) == 1


async def test_a_root_has_no_seam(app: Running) -> None:
    answer = await app.http.post("/v1/chains", json={"prompt": "pads", "duration_s": 1.0, "align": "phase"})
    problem(answer, 422)
    made = await app.generated()
    assert not {"align", "crossfade_s", "match_loudness"} & made["nodes"][0]["params"].keys()
