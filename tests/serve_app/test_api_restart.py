"""The process goes, the music stays: another application on the same store takes everything up again."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from deployments.engines.music.mock import MockEngine
from storage.stores.memory import MemoryStore
from storage.stores.object_store import StoreUnavailable
from tests.support.faulty_store import FaultyStore, Outage
from tests.support.harness import running, tone, wav
from tests.support.patience import until
from tests.support.scripted_engine import ScriptedEngine


async def test_work_goes_on_after_a_tidy_restart() -> None:
    store = MemoryStore()
    first, second = ScriptedEngine(step_delay_s=1.0), ScriptedEngine(step_delay_s=0.0)
    overrides = {"jobs": {"concurrent": 2}}
    async with running({"mock": first}, store=store, overrides=overrides) as app:
        chain = await app.upload(wav(tone(0.3)), title="Night drive")
        branched = await app.branch(chain["id"], chain["root_id"], duration_s=0.5, takes=4)
        jobs = branched["job_ids"]

        async def two_run() -> bool:
            states = Counter([(await app.job(job_id))["state"] for job_id in jobs])
            return states == {"running": 2, "queued": 2}

        await until(two_run)
    assert not first.finished
    async with running({"mock": second}, store=store, overrides=overrides) as app:
        for node in branched["nodes"]:
            assert (await app.finished(chain["id"], node["id"]))["status"] == "ready"
        for job_id in jobs:
            job = await app.ended(job_id)
            # A tidy stop costs no attempt.
            assert (job["state"], job["attempt"]) == ("succeeded", 1)
        assert second.finished == Counter(dict.fromkeys(jobs, 1))
        kept = await app.chain(chain["id"])
        assert kept["title"] == "Night drive"
        assert {node["id"] for node in kept["nodes"][1:]} == {node["id"] for node in branched["nodes"]}
        await app.rest()


async def test_work_is_taken_over_from_a_process_that_died() -> None:
    store = FaultyStore()
    overrides = {"jobs": {"lease_s": 1.5, "takeover_grace_s": 0.1}}
    # The second application reads on: only what the first one wrote after it died is lost.
    with suppress(StoreUnavailable):
        async with running({"mock": MockEngine(step_delay_s=9)}, store=store, overrides=overrides) as app:
            chain = await app.upload(wav(tone(0.3)))
            branched = await app.branch(chain["id"], chain["root_id"], duration_s=0.5)
            [job_id] = branched["job_ids"]
            node_id = branched["nodes"][0]["id"]

            async def runs() -> bool:
                return bool((await app.node(chain["id"], node_id))["status"] == "running")

            await until(runs)
            store.outage = Outage(("put", "delete"))
    store.outage = None
    async with running({"mock": MockEngine()}, store=store, overrides=overrides) as app:
        job = await app.ended(job_id)
        assert (job["state"], job["attempt"]) == ("succeeded", 2)
        assert (await app.node(chain["id"], node_id))["status"] == "ready"


async def test_an_export_is_downloaded_after_a_restart() -> None:
    store = MemoryStore()
    async with running({"mock": MockEngine()}, store=store) as app:
        chain = await app.generated()
        made = await app.http.post(f"/v1/chains/{chain['id']}/export", json={"format": "wav"})
        export_id = made.headers["x-segue-export-id"]
    async with running({"mock": MockEngine()}, store=store) as app:
        kept = await app.http.get(f"/v1/exports/{export_id}/file")
        assert kept.content == made.content
        await app.rest()
        keys = await app.keys()
        again = await app.http.post(f"/v1/chains/{chain['id']}/export", json={"format": "wav"})
        assert again.content == made.content
        assert await app.keys() == keys
