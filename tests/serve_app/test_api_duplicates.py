"""Duplicates over HTTP: chains of their own that share audio, which lives as long as one of them."""

from __future__ import annotations

from deployments.engines.music.mock import MockEngine
from storage.gc.collector import Collector
from storage.gc.rules import Retention
from tests.support.harness import Running, problem, running, tone, wav


async def collected(app: Running) -> None:
    """As if everything were old."""
    collector = Collector(app.store, Retention(grace_s=1e-9, tombstones_s=1e-9, exports_s=None))
    await collector.collect(await collector.plan())


async def test_a_duplicate_is_a_chain_of_its_own_with_the_same_audio() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.upload(wav(tone(1.0)), title="First")
        root, url = chain["root_id"], f"/v1/chains/{chain['id']}"
        takes = (await app.branch(chain["id"], root, duration_s=0.5, takes=2))["nodes"]
        first, second = [(await app.finished(chain["id"], take["id"]))["id"] for take in takes]
        await app.http.post(f"{url}/nodes/{first}/commit")
        await app.http.post(f"{url}/nodes/{second}/discard")
        below = (await app.branch(chain["id"], first, duration_s=0.5))["nodes"][0]["id"]
        await app.finished(chain["id"], below)
        blobs = {key for key in await app.keys() if "/blobs/" in key}
        key = {"Idempotency-Key": "k"}
        made = await app.http.post(f"{url}/duplicate", headers=key)
        assert made.status_code == 201, made.text
        whole = made.json()
        assert (await app.http.post(f"{url}/duplicate", headers=key)).json()["id"] == whole["id"]
        problem(await app.http.post(f"{url}/duplicate", json={"title": "x"}, headers=key), 422)
        assert {key for key in await app.keys() if "/blobs/" in key} == blobs
        assert (whole["title"], whole["version"], whole["undo"]) == ("First", 1, None)
        assert whole["spine"] == [root, first]
        assert [node["decision"] for node in whole["nodes"]] == [
            "committed",
            "committed",
            "discarded",
            "candidate",
        ]
        part = (await app.http.post(f"{url}/duplicate", json={"node_id": below, "title": "Part"})).json()
        assert [node["id"] for node in part["nodes"]] == [root, first, below]
        # What is decided in one is not decided in the other.
        await app.http.post(f"/v1/chains/{part['id']}/nodes/{first}/uncommit")
        assert (await app.chain(chain["id"]))["spine"] == [root, first]
        await app.http.delete(url)
        await collected(app)
        for other in (whole, part):
            for node in other["nodes"]:
                assert (await app.http.get(node["audio"]["url"])).status_code == 200
            grown = await app.branch(other["id"], first, duration_s=0.5)
            assert (await app.finished(other["id"], grown["nodes"][0]["id"]))["status"] == "ready"
            await app.http.delete(f"/v1/chains/{other['id']}")
        await collected(app)
        assert not {key for key in await app.keys() if "/blobs/" in key} & blobs
        problem(await app.http.post(f"{url}/duplicate"), 404)


async def test_what_cannot_be_duplicated() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        chain = await app.upload(wav(tone(1.0)))
        url = f"/v1/chains/{chain['id']}/duplicate"
        pending = (await app.branch(chain["id"], chain["root_id"], duration_s=0.5))["nodes"][0]["id"]
        problem(await app.http.post(url, json={"node_id": pending}), 409)
        problem(await app.http.post(url, json={"node_id": "nobody"}), 404)
        for body in ({"title": 7}, {"title": "x" * 201}, {"node": pending}, {"node_id": 5}):
            problem(await app.http.post(url, json=body), 422)
        waiting = (await app.http.post("/v1/chains", json={"prompt": "pads"})).json()
        problem(await app.http.post(f"/v1/chains/{waiting['id']}/duplicate"), 409)
        assert [node["id"] for node in (await app.http.post(url)).json()["nodes"]] == [chain["root_id"]]
