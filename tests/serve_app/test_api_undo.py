"""Undo and redo over HTTP: one decision at a time, once for each request."""

from __future__ import annotations

from typing import Any

from deployments.engines.music.mock import MockEngine
from tests.support.harness import problem, running, tone, wav


async def test_decisions_go_back_and_forth_and_followers_see_it() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.upload(wav(tone(1.0)))
        url = f"/v1/chains/{chain['id']}"

        async def post(path: str, **options: Any) -> dict[str, Any]:
            answer = await app.http.post(url + path, **options)
            assert answer.status_code < 300, answer.text
            made: dict[str, Any] = answer.json()
            return made

        problem(await app.http.post(f"{url}/undo"), 409)
        problem(await app.http.post(f"{url}/redo"), 409)
        take = (await app.branch(chain["id"], chain["root_id"], duration_s=0.5))["nodes"][0]["id"]
        await app.finished(chain["id"], take)
        committed = await post(f"/nodes/{take}/commit")
        assert committed["undo"] == {"action": "commit", "node_id": take, "at": committed["updated_at"]}
        assert committed["redo"] is None
        part = (await post(f"/nodes/{take}/crop", json={"to_s": 0.2}))["node"]["id"]
        before = await app.chain(chain["id"])
        undone = await post("/undo", headers={"Idempotency-Key": "k"})
        assert part not in [node["id"] for node in undone["nodes"]]
        assert await post("/undo", headers={"Idempotency-Key": "k"}) == undone
        assert (undone["undo"]["action"], undone["redo"]["action"]) == ("commit", "crop")
        problem(await app.http.get(f"{url}/nodes/{part}"), 404)
        again = await post("/redo")
        assert [node["id"] for node in again["nodes"]] == [node["id"] for node in before["nodes"]]
        meant = {"at": undone["undo"]["at"]}
        problem(await app.http.post(f"{url}/undo", json=meant), 409)
        await app.branch(chain["id"], part, duration_s=0.5)
        stopped = problem(await app.http.post(f"{url}/undo"), 409)
        assert part in stopped["detail"]
        assert (await app.chain(chain["id"]))["undo"] is None
        for body in ({"at": "yesterday"}, {"to": 1}, []):
            problem(await app.http.post(f"{url}/undo", json=body), 422)
        problem(await app.http.post("/v1/chains/nothing/undo"), 404)


async def test_a_discard_that_is_undone_says_that_its_work_does_not_run_on() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        chain = await app.upload(wav(tone(1.0)))
        url = f"/v1/chains/{chain['id']}"
        takes = (await app.branch(chain["id"], chain["root_id"], duration_s=0.5, takes=2))["nodes"]
        await app.http.post(f"{url}/nodes/{takes[0]['id']}/discard")
        back = (await app.http.post(f"{url}/undo")).json()
        [notice] = back["notices"]
        assert "1 take was cancelled" in notice
        node = next(node for node in back["nodes"] if node["id"] == takes[0]["id"])
        assert (node["decision"], node["status"]) == ("candidate", "cancelled")
        assert back["redo"]["action"] == "discard"
