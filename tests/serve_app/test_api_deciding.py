"""Commit, discard, cancel, delete: what is allowed when, what can be undone, and that unwanted work stops."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from deployments.engines.music.mock import MockEngine
from tests.support.harness import Running, problem, running, tone, wav
from tests.support.patience import until
from tests.support.scripted_engine import ScriptedEngine

DEAF = {"jobs": {"watch_s": 300}}
"""Runners do not look by themselves whether a job is still wanted: they must be told."""


async def take(app: Running, chain: dict[str, Any], parent_id: str | None = None, **body: Any) -> Any:
    branched = await app.branch(chain["id"], parent_id or chain["root_id"], duration_s=0.5, **body)
    return branched["nodes"][0]


async def ready_take(app: Running, chain: dict[str, Any], parent_id: str | None = None) -> str:
    node = await take(app, chain, parent_id)
    assert (await app.finished(chain["id"], node["id"]))["status"] == "ready"
    node_id: str = node["id"]
    return node_id


async def decide(app: Running, chain: dict[str, Any], node_id: str, what: str) -> httpx.Response:
    return await app.http.post(f"/v1/chains/{chain['id']}/nodes/{node_id}/{what}")


async def test_a_commit_takes_its_siblings_place_and_again_changes_nothing() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        root = chain["root_id"]
        first, second = await ready_take(app, chain), await ready_take(app, chain)
        await decide(app, chain, first, "commit")
        below = await ready_take(app, chain, first)
        grown = (await decide(app, chain, below, "commit")).json()
        assert grown["spine"] == [root, first, below]
        again = (await decide(app, chain, below, "commit")).json()
        assert again == grown
        replaced = (await decide(app, chain, second, "commit")).json()
        assert replaced["spine"] == [root, second]
        decisions = {node["id"]: node["decision"] for node in replaced["nodes"]}
        assert (decisions[first], decisions[below]) == ("candidate", "candidate")


async def test_what_cannot_be_committed_or_discarded_or_branched_from() -> None:
    engine = ScriptedEngine()
    async with running({"mock": engine}) as app:
        chain = await app.generated()
        first = await ready_take(app, chain)
        below = await ready_take(app, chain, first)
        pending = (await take(app, chain, prompt="slow"))["id"]
        failed = (await take(app, chain, prompt="fail"))["id"]
        node = await app.finished(chain["id"], failed)
        assert (node["status"], node["error"]["code"]) == ("failed", "bad-request")
        cancelled = await take(app, chain, prompt="slow")
        await app.http.delete(f"/v1/jobs/{cancelled['job_id']}")
        dropped = await ready_take(app, chain)
        await decide(app, chain, dropped, "discard")

        before = await app.chain(chain["id"])
        keys = await app.keys()
        for node_id in (pending, failed, cancelled["id"], dropped):
            problem(await decide(app, chain, node_id, "commit"), 409)
            refused = await app.http.post(f"/v1/chains/{chain['id']}/nodes", json={"parent_id": node_id})
            assert node_id in problem(refused, 409)["detail"]
        problem(await decide(app, chain, below, "commit"), 409)  # its parent is not on the spine
        problem(await decide(app, chain, chain["root_id"], "discard"), 409)
        await decide(app, chain, first, "commit")
        problem(await decide(app, chain, first, "discard"), 409)
        for what in ("commit", "discard"):
            problem(await decide(app, chain, "nobody", what), 404)
            problem(await app.http.post(f"/v1/chains/nothing/nodes/{first}/{what}"), 404)
        after = await app.chain(chain["id"])
        assert after["version"] == before["version"] + 1  # the one commit
        assert await app.keys() <= keys  # fewer once the jobs before have tidied up


async def test_discarding_takes_the_subtree_along_and_stops_its_work() -> None:
    engine = ScriptedEngine()
    async with running({"mock": engine}, overrides=DEAF) as app:
        chain = await app.generated()
        top = await ready_take(app, chain)
        below = await ready_take(app, chain, top)
        busy = await take(app, chain, below, prompt="slow")
        beside = await ready_take(app, chain)
        await engine.until_running(1)
        answer = (await decide(app, chain, top, "discard")).json()
        nodes = {node["id"]: node for node in answer["nodes"]}
        assert [nodes[node_id]["decision"] for node_id in (top, below, busy["id"])] == ["discarded"] * 3
        assert nodes[busy["id"]]["status"] == "cancelled"
        assert nodes[top]["status"] == "ready"  # its sound is there to be heard
        assert nodes[beside]["decision"] == "candidate"
        await engine.until_running(0)
        assert (await app.ended(busy["job_id"]))["state"] == "cancelled"
        again = (await decide(app, chain, top, "discard")).json()
        assert again["version"] == answer["version"]


async def test_the_take_that_is_chosen_early_ends_the_unfinished_ones_of_its_request() -> None:
    engine = ScriptedEngine()
    async with running({"mock": engine}, overrides=DEAF) as app:
        chain = await app.generated()
        earlier = await take(app, chain, prompt="slow")
        asked = await app.branch(chain["id"], chain["root_id"], prompt="slow", takes=3)
        chosen, *others = [node["id"] for node in asked["nodes"]]
        await engine.until_running(4)
        answer = await decide(app, chain, chosen, "cancel_others")
        assert answer.status_code == 200
        states = {node["id"]: node["status"] for node in answer.json()["nodes"]}
        assert [states[node_id] for node_id in others] == ["cancelled", "cancelled"]
        assert {states[chosen], states[earlier["id"]]} == {"running"}
        await engine.until_running(2)
        for job_id in asked["job_ids"][1:]:
            assert (await app.ended(job_id))["state"] == "cancelled"
        again = await decide(app, chain, chosen, "cancel_others")
        assert again.json()["version"] == answer.json()["version"]
        problem(await decide(app, chain, "nobody", "cancel_others"), 404)
        await decide(app, chain, chosen, "discard")
        await decide(app, chain, earlier["id"], "discard")


async def test_a_committed_take_is_taken_off_the_spine_with_what_follows_it() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        root = chain["root_id"]
        first = await ready_take(app, chain)
        await decide(app, chain, first, "commit")
        below = await ready_take(app, chain, first)
        await decide(app, chain, below, "commit")
        off = (await decide(app, chain, first, "uncommit")).json()
        assert off["spine"] == [root]
        assert {node["id"]: node["decision"] for node in off["nodes"]} == {
            root: "committed",
            first: "candidate",
            below: "candidate",
        }
        assert (await decide(app, chain, first, "uncommit")).json() == off
        assert (await app.http.get(f"/v1/chains/{chain['id']}/spine")).json()["nodes"][-1]["id"] == root
        refused = problem(await decide(app, chain, root, "uncommit"), 409)
        assert "root" in refused["detail"]
        problem(await decide(app, chain, "nobody", "uncommit"), 404)
        assert (await app.chain(chain["id"])) == off
        # Off the spine it can be discarded, which it could not be on it.
        assert (await decide(app, chain, first, "discard")).status_code == 200


async def test_a_discarded_take_comes_back_and_its_cancelled_work_does_not() -> None:
    engine = ScriptedEngine()
    async with running({"mock": engine}, overrides=DEAF) as app:
        chain = await app.generated()
        top = await ready_take(app, chain)
        below = await ready_take(app, chain, top)
        busy = await take(app, chain, below, prompt="slow")
        await engine.until_running(1)
        await decide(app, chain, top, "discard")
        await engine.until_running(0)
        assert (await app.ended(busy["job_id"]))["state"] == "cancelled"
        back = (await decide(app, chain, top, "restore")).json()
        nodes = {node["id"]: node for node in back["nodes"]}
        assert [nodes[node_id]["decision"] for node_id in (top, below, busy["id"])] == ["candidate"] * 3
        assert nodes[busy["id"]]["status"] == "cancelled"
        assert (await decide(app, chain, top, "restore")).json() == back
        assert (await app.job(busy["job_id"]))["state"] == "cancelled"
        sound = await app.http.get(f"/v1/chains/{chain['id']}/nodes/{top}/audio")
        assert sound.status_code == 200
        # It is a take like any other again: it goes on, and goes onto the spine.
        await ready_take(app, chain, below)
        committed = (await decide(app, chain, top, "commit")).json()
        assert committed["spine"] == [chain["root_id"], top]
        problem(await decide(app, chain, "nobody", "restore"), 404)


async def test_cancelling_a_running_job_shows_at_once_and_frees_the_model() -> None:
    engine = ScriptedEngine()
    async with running({"mock": engine}, overrides=DEAF) as app:
        chain = await app.generated()
        node = await take(app, chain, prompt="slow")
        await engine.until_running(1)
        assert (await app.job(node["job_id"]))["state"] == "running"
        answer = await app.http.delete(f"/v1/jobs/{node['job_id']}")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        assert (await app.node(chain["id"], node["id"]))["status"] == "cancelled"
        await engine.until_running(0)
        again = await app.http.delete(f"/v1/jobs/{node['job_id']}")
        assert (again.status_code, again.json()["state"]) == (200, "cancelled")
        assert (await app.node(chain["id"], await ready_take(app, chain)))["status"] == "ready"


async def test_a_queued_job_that_is_cancelled_never_runs() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        chain = await app.upload(wav(tone(0.2)))
        node = await take(app, chain)
        assert (await app.job(node["job_id"]))["state"] == "queued"
        answer = await app.http.delete(f"/v1/jobs/{node['job_id']}")
        assert answer.json()["state"] == "cancelled"
        assert answer.json()["finished_at"] is not None
        app.worker.start()
        other = await take(app, chain)
        await app.finished(chain["id"], other["id"])
        job = await app.job(node["job_id"])
        assert (job["state"], job["attempt"]) == ("cancelled", 0)


async def test_a_finished_job_cannot_be_cancelled_any_more() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        job_id = chain["nodes"][0]["job_id"]

        async def is_recorded() -> bool:
            return [stage["name"] for stage in (await app.job(job_id))["stages"]] == ["generate"]

        # The node tells how it ended, and the record may lag behind.
        assert (await app.ended(job_id))["state"] == "succeeded"
        await until(is_recorded)
        done = await app.job(job_id)
        assert (done["state"], done["progress"]) == ("succeeded", 1.0)
        assert done["result"] == {"chain_id": chain["id"], "node_id": chain["root_id"]}
        assert (await app.http.delete(f"/v1/jobs/{job_id}")).json() == done
        assert (await app.node(chain["id"], chain["root_id"]))["status"] == "ready"
        for method in ("GET", "DELETE"):
            problem(await app.http.request(method, "/v1/jobs/nothing"), 404)
        problem(await app.http.get("/v1/jobs/nothing/events"), 404)


async def test_deleting_a_chain_stops_its_work() -> None:
    engine = ScriptedEngine()
    async with running({"mock": engine}, overrides={"jobs": {"concurrent": 2, **DEAF["jobs"]}}) as app:
        chain = await app.generated()
        jobs = [(await take(app, chain, prompt="slow"))["job_id"] for _ in range(3)]
        await engine.until_running(2)
        assert [(await app.job(job_id))["state"] for job_id in jobs] == ["running", "running", "queued"]
        await app.http.delete(f"/v1/chains/{chain['id']}")
        await engine.until_running(0)
        for job_id in jobs:
            assert (await app.ended(job_id))["state"] == "cancelled"

        await app.rest()  # nobody is left to look at them: the runners forget them too


async def test_a_jobs_events_follow_it_to_its_end() -> None:
    async with running({"mock": MockEngine(step_delay_s=0.05)}, overrides={"events": {"poll_s": 5}}) as app:
        chain = await app.upload(wav(tone(0.2)))
        node = await take(app, chain)
        stream = await app.http.get(f"/v1/jobs/{node['job_id']}/events")
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [
            (fields["event"], json.loads(fields["data"]))
            for fields in (
                dict(line.split(": ", 1) for line in frame.split("\n"))
                for frame in stream.text.split("\n\n")[:-1]
            )
            if "event" in fields
        ]
        states = [data["state"] for name, data in events if name == "job"]
        assert states[-1] == "succeeded"
        assert states == sorted(set(states), key=["queued", "running", "succeeded"].index)
        progress = [data["progress"] for name, data in events if name == "progress"]
        assert len(progress) >= 3
        assert progress == sorted(progress)
        # One that has ended is told of in one frame.
        late = await app.http.get(f"/v1/jobs/{node['job_id']}/events")
        assert late.text.count("event: ") == 1
        assert '"state":"succeeded"' in late.text


async def test_too_much_work_at_once_is_refused_with_a_time_to_come_back() -> None:
    async with running(
        {"mock": MockEngine()}, work=False, overrides={"jobs": {"max_active_per_tenant": 3}}
    ) as app:
        chain = await app.upload(wav(tone(0.2)))
        url = f"/v1/chains/{chain['id']}"
        await app.branch(chain["id"], chain["root_id"], takes=2)
        keys = await app.keys()
        for path, body in (
            (f"{url}/nodes", {"parent_id": chain["root_id"], "takes": 2}),
            (f"{url}/nodes", {"parent_id": chain["root_id"], "takes": 8}),
        ):
            answer = await app.http.post(path, json=body)
            assert "at most 3" in problem(answer, 429)["detail"]
            assert int(answer.headers["retry-after"]) >= 1
        assert await app.keys() == keys
        node = await take(app, chain)
        keys = await app.keys()
        problem(await app.http.post("/v1/chains", json={"prompt": "x"}), 429)
        problem(await app.http.post(f"{url}/export", json={"format": "wav"}), 429)
        assert await app.keys() == keys
        await app.http.delete(f"/v1/jobs/{node['job_id']}")
        await take(app, chain)
        # Uploads are no work for the runners.
        await app.upload(wav(tone(0.2)))


@pytest.mark.parametrize("what", ["commit", "discard"])
async def test_decisions_made_at_once_do_not_get_lost(what: str) -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        branched = await app.branch(chain["id"], chain["root_id"], duration_s=0.5, takes=5)
        ids = [node["id"] for node in branched["nodes"]]
        for node_id in ids:
            await app.finished(chain["id"], node_id)
        answers = await asyncio.gather(*(decide(app, chain, node_id, what) for node_id in ids))
        assert [answer.status_code for answer in answers] == [200] * 5
        after = await app.chain(chain["id"])
        counted = [node["decision"] for node in after["nodes"][1:]]
        if what == "discard":
            assert counted == ["discarded"] * 5
        else:
            assert sorted(counted) == ["candidate"] * 4 + ["committed"]
            assert len(after["spine"]) == 2
