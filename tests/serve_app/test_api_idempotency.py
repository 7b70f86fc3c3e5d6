"""A request that is sent again finds its own work: nothing is made twice, nothing stays half made."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from deployments.engines.music.mock import MockEngine
from storage.domain.model import Failure
from storage.domain.seeds import seed_of_take
from tests.support.faulty_store import FaultyStore, Outage
from tests.support.harness import Running, problem, running, tone, wav

KEY = {"Idempotency-Key": "3b0c-again"}


async def branch(app: Running, chain: dict[str, Any], key: str = "again", **body: Any) -> httpx.Response:
    return await app.http.post(
        f"/v1/chains/{chain['id']}/nodes",
        json={"parent_id": chain["root_id"], "duration_s": 0.5, **body},
        headers={"Idempotency-Key": key},
    )


async def test_a_branch_sent_again_is_the_same_branch() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        first = await branch(app, chain, takes=2)
        for node in first.json()["nodes"]:
            await app.finished(chain["id"], node["id"])
        await app.rest()
        keys = await app.keys()
        again = await branch(app, chain, takes=2)
        assert again.status_code == 202
        assert again.json()["job_ids"] == first.json()["job_ids"]
        assert [node["status"] for node in again.json()["nodes"]] == ["ready", "ready"]
        seeds = [[node["seed"] for node in answer.json()["nodes"]] for answer in (first, again)]
        assert seeds[0] == seeds[1]
        assert await app.keys() == keys
        assert [app.worker.running, app.worker.queued] == [0, 0]
        # Said otherwise, it is the same: order and defaults do not matter.
        spelt_out = await branch(app, chain, takes=2, mode="continue", temperature=1.0)
        assert spelt_out.json()["job_ids"] == first.json()["job_ids"]


async def test_a_key_for_another_request_is_refused() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        chain = await app.upload(wav(tone(0.2)))
        other = await app.upload(wav(tone(0.2)))
        await branch(app, chain)
        keys = await app.keys()
        for answer in (
            await branch(app, chain, prompt="something else"),
            await branch(app, chain, takes=2),
        ):
            assert problem(answer, 422)["type"].endswith("idempotency-mismatch")
        assert await app.keys() == keys
        # A key counts for one route of one chain.
        assert (await branch(app, other, prompt="something else")).status_code == 202


async def test_identical_requests_at_once_are_one() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        answers = await asyncio.gather(*(branch(app, chain, takes=2) for _ in range(5)))
        assert [answer.status_code for answer in answers] == [202] * 5
        assert len({tuple(answer.json()["job_ids"]) for answer in answers}) == 1
        grown = await app.chain(chain["id"])
        assert len(grown["nodes"]) == 3
        jobs = (await app.http.get("/v1/jobs")).json()["jobs"]
        assert len(jobs) == 3
        for node in answers[0].json()["nodes"]:
            assert (await app.finished(chain["id"], node["id"]))["status"] == "ready"
        attempts = [(await app.job(job_id))["attempt"] for job_id in answers[0].json()["job_ids"]]
        assert attempts == [1, 1]


async def test_identical_uploads_at_once_are_one_chain() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        files = {"file": ("a.wav", wav(tone(0.3)))}
        answers = await asyncio.gather(
            *(app.http.post("/v1/chains", files=files, headers=KEY) for _ in range(5))
        )
        assert [answer.status_code for answer in answers] == [201] * 5
        assert len({answer.text for answer in answers}) == 1
        assert len((await app.http.get("/v1/chains")).json()["chains"]) == 1
        keys = await app.keys()
        again = await app.http.post("/v1/chains", files=files, headers=KEY)
        assert again.json() == answers[0].json()
        assert await app.keys() == keys
        for changed in (
            {"files": {"file": ("a.wav", wav(tone(0.4)))}},
            {"files": files, "data": {"title": "another"}},
        ):
            refused = await app.http.post("/v1/chains", headers=KEY, **changed)
            assert problem(refused, 422)["type"].endswith("idempotency-mismatch")
        assert await app.keys() == keys


async def test_a_prompted_chain_sent_again_is_the_same_chain() -> None:
    async with running({"mock": MockEngine()}) as app:
        body = {"title": "T", "prompt": "a harp", "duration_s": 0.5}
        answers = await asyncio.gather(
            *(app.http.post("/v1/chains", json=body, headers=KEY) for _ in range(5))
        )
        assert [answer.status_code for answer in answers] == [201] * 5
        assert len({(answer.json()["id"], answer.json()["job_id"]) for answer in answers}) == 1
        made = answers[0].json()
        await app.finished(made["id"], made["root_id"])
        again = await app.http.post("/v1/chains", json=body, headers=KEY)
        assert (again.json()["id"], again.json()["job_id"]) == (made["id"], made["job_id"])
        assert again.json()["nodes"][0]["status"] == "ready"
        assert len((await app.http.get("/v1/jobs")).json()["jobs"]) == 1
        refused = await app.http.post("/v1/chains", json={**body, "prompt": "a lute"}, headers=KEY)
        assert problem(refused, 422)["type"].endswith("idempotency-mismatch")

        await app.http.delete(f"/v1/chains/{made['id']}")
        problem(await app.http.post("/v1/chains", json=body, headers=KEY), 409)


async def test_an_export_sent_again_is_the_same_export() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        url = f"/v1/chains/{chain['id']}/export"
        answers = await asyncio.gather(
            *(app.http.post(url, json={"format": "flac"}, headers=KEY) for _ in range(5))
        )
        assert [answer.status_code for answer in answers] == [200] * 5
        assert len({answer.headers["x-segue-export-id"] for answer in answers}) == 1
        assert len({answer.content for answer in answers}) == 1
        exports = [job for job in (await app.http.get("/v1/jobs")).json()["jobs"] if job["kind"] == "export"]
        assert len(exports) == 1
        # The line has grown since, but a repetition asks for the file as it was.
        branched = await app.branch(chain["id"], chain["root_id"], duration_s=0.5)
        node_id = branched["nodes"][0]["id"]
        await app.finished(chain["id"], node_id)
        await app.http.post(f"/v1/chains/{chain['id']}/nodes/{node_id}/commit")
        again = await app.http.post(url, json={"format": "flac"}, headers=KEY)
        assert again.content == answers[0].content
        fresh = await app.http.post(url, json={"format": "flac"})
        assert len(fresh.content) > len(again.content)
        assert problem(await app.http.post(url, json={"format": "mp3"}, headers=KEY), 422)


async def test_without_a_key_the_same_export_is_still_made_once() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        url = f"/v1/chains/{chain['id']}/export"
        answers = await asyncio.gather(*(app.http.post(url, json={"format": "mp3"}) for _ in range(3)))
        assert len({answer.headers["x-segue-export-id"] for answer in answers}) == 1
        jobs = (await app.http.get("/v1/jobs")).json()["jobs"]
        assert [job["kind"] for job in jobs] == ["export", "generate"]


@pytest.mark.parametrize("by_whom", ["a repetition", "a runner"])
async def test_a_branch_that_broke_off_half_way_is_finished(by_whom: str) -> None:
    """The job record is durable, the node never came into the chain: either process continues from there."""
    store = FaultyStore()
    async with running({"mock": MockEngine()}, store=store, work=False) as app:
        chain = await app.upload(wav(tone(0.3)))
        store.outage = Outage(within=f"tenants/local/chains/{chain['id']}")
        answer = await branch(app, chain, takes=2)
        assert int(answer.headers["retry-after"]) >= 1
        problem(answer, 503)
        store.outage = None
        assert len((await app.chain(chain["id"]))["nodes"]) == 1
        orphans = {job["id"] for job in (await app.http.get("/v1/jobs")).json()["jobs"]}
        assert len(orphans) == 2
        if by_whom == "a runner":
            app.worker.start()
            for job_id in orphans:
                node_id = (await app.job(job_id))["node_id"]
                assert (await app.ended(job_id))["state"] == "succeeded"
                assert (await app.node(chain["id"], node_id))["status"] == "ready"
        repeated = await branch(app, chain, takes=2)
        assert repeated.status_code == 202
        assert set(repeated.json()["job_ids"]) == orphans
        assert len((await app.chain(chain["id"]))["nodes"]) == 3


async def test_takes_of_a_branch_that_broke_off_between_them_belong_together() -> None:
    store = FaultyStore()
    async with running({"mock": MockEngine()}, store=store, work=False) as app:
        chain = await app.upload(wav(tone(0.3)))
        store.outage = Outage(within="tenants/local/jobs/", spared=1)
        problem(await branch(app, chain, takes=3), 503)
        store.outage = None
        nodes = (await branch(app, chain, takes=3)).json()["nodes"]
        assert [node["seed"] for node in nodes] == [seed_of_take(nodes[0]["seed"], take) for take in range(3)]


async def test_a_prompted_chain_that_broke_off_half_way_is_finished() -> None:
    store = FaultyStore()
    body = {"prompt": "a harp", "duration_s": 0.5}
    # There is room for one job alone: the one that is half made must not stand in its own way.
    async with running(
        {"mock": MockEngine()}, store=store, work=False, overrides={"jobs": {"max_active_per_tenant": 1}}
    ) as app:
        store.outage = Outage(within="tenants/local/chains/")
        problem(await app.http.post("/v1/chains", json=body, headers=KEY), 503)
        store.outage = None
        [orphan] = (await app.http.get("/v1/jobs")).json()["jobs"]
        problem(await app.http.get(f"/v1/chains/{orphan['chain_id']}"), 404)
        answer = await app.http.post("/v1/chains", json=body, headers=KEY)
        assert answer.status_code == 201, answer.text
        assert (answer.json()["id"], answer.json()["job_id"]) == (orphan["chain_id"], orphan["id"])
        app.worker.start()
        root = await app.finished(answer.json()["id"], answer.json()["root_id"])
        assert root["status"] == "ready"


async def test_work_that_was_cancelled_half_made_ends_cancelled() -> None:
    """Also if it is asked for again: its nodes do not wait for ever."""
    store = FaultyStore()
    async with running({"mock": MockEngine()}, store=store, work=False) as app:
        chain = await app.upload(wav(tone(0.3)))
        body = {"prompt": "a harp", "duration_s": 0.5}
        store.outage = Outage(within="tenants/local/chains/")
        problem(await branch(app, chain), 503)
        problem(await app.http.post("/v1/chains", json=body, headers=KEY), 503)
        store.outage = None
        orphans = [job["id"] for job in (await app.http.get("/v1/jobs")).json()["jobs"]]
        for job_id in orphans:
            assert (await app.http.delete(f"/v1/jobs/{job_id}")).json()["cancel_requested"]
        [node] = (await branch(app, chain)).json()["nodes"]
        prompted = (await app.http.post("/v1/chains", json=body, headers=KEY)).json()
        app.worker.start()
        assert (await app.finished(chain["id"], node["id"]))["status"] == "cancelled"
        assert (await app.finished(prompted["id"], prompted["root_id"]))["status"] == "cancelled"
        assert [(await app.ended(job_id))["state"] for job_id in orphans] == ["cancelled"] * 2


async def test_work_that_failed_half_made_is_not_begun_by_a_repetition() -> None:
    """Its node would wait for ever: nobody works on a job that has ended."""
    store = FaultyStore()
    async with running({"mock": MockEngine()}, store=store, work=False) as app:
        chain = await app.upload(wav(tone(0.3)))
        store.outage = Outage(within="tenants/local/chains/")
        problem(await branch(app, chain), 503)
        store.outage = None
        [orphan] = (await app.http.get("/v1/jobs")).json()["jobs"]
        await app.services.admission.refuse(
            [await app.services.jobs.read("local", orphan["id"])], Failure("conflict", "the parent is gone")
        )
        assert "the parent is gone" in problem(await branch(app, chain), 409)["detail"]
        assert len((await app.chain(chain["id"]))["nodes"]) == 1


async def test_a_key_is_free_again_after_its_time() -> None:
    async with running(
        {"mock": MockEngine()}, work=False, overrides={"jobs": {"idempotency_ttl_s": 3.0}}
    ) as app:
        chain = await app.upload(wav(tone(0.2)))
        first = await branch(app, chain, prompt="one")
        problem(await branch(app, chain, prompt="two"), 422)
        await asyncio.sleep(3.05)
        second = await branch(app, chain, prompt="two")
        assert second.status_code == 202
        assert set(second.json()["job_ids"]).isdisjoint(first.json()["job_ids"])
        assert (await branch(app, chain, prompt="two")).json() == second.json()


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_without_sense_is_refused(key: str) -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        answer = await app.http.post("/v1/chains", json={"prompt": "x"}, headers={"Idempotency-Key": key})
        body = problem(answer, 422)
        assert "Idempotency-Key" in body["detail"]
        assert await app.keys() == set()
