"""A chain that is as large as one may be."""

from __future__ import annotations

from deployments.engines.music.mock import MockEngine
from tests.support.harness import problem, running, tone, wav


async def test_a_full_chain_takes_no_more_nodes_and_stays_usable() -> None:
    async with running({"mock": MockEngine()}, overrides={"chains": {"max_nodes": 3}}) as app:
        assert (await app.http.get("/v1/config")).json()["chains"]["max_nodes"] == 3
        chain = await app.upload(wav(tone()))
        url, root = f"/v1/chains/{chain['id']}", chain["root_id"]
        takes = {"parent_id": root, "duration_s": 0.5, "takes": 3}
        told = problem(await app.http.post(f"{url}/nodes", json=takes), 409)
        assert told["type"] == "urn:segue:problem:chain-full"
        assert "3 nodes is the most" in told["detail"]
        made = await app.branch(chain["id"], root, duration_s=0.5, takes=2)
        crop = {"from_s": 0.0, "to_s": 1.0}
        problem(await app.http.post(f"{url}/nodes/{root}/crop", json=crop), 409)
        problem(await app.http.post(f"{url}/nodes", json={**takes, "takes": 1, "at_s": 1.0}), 409)
        for node in made["nodes"]:
            assert (await app.finished(chain["id"], node["id"]))["status"] == "ready"
        await app.rest()  # no job of a refused request is left
        assert (await app.http.post(f"{url}/nodes/{made['nodes'][0]['id']}/commit")).status_code == 200
        jobs = (await app.http.get("/v1/jobs")).json()["jobs"]
        assert [job["state"] for job in jobs if job["kind"] == "generate"] == ["succeeded"] * 2
        twin = (await app.http.post(f"{url}/duplicate", json={"node_id": made["nodes"][0]["id"]})).json()
        await app.branch(twin["id"], made["nodes"][0]["id"], duration_s=0.5)
