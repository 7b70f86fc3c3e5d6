"""Diffs over HTTP: two branches, from where they part."""

from __future__ import annotations

import numpy as np
import pytest

from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.music.mock import MockEngine
from tests.support.harness import problem, running, wav

RATE_HZ = 44_100
NOISE = np.random.default_rng(5).uniform(-0.4, 0.4, (2, 7 * RATE_HZ)).astype(np.float32)


async def test_branches_are_compared_from_where_they_part() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.upload(wav(NOISE))
        url, root = f"/v1/chains/{chain['id']}", chain["root_id"]
        part = (await app.http.post(f"{url}/nodes/{root}/crop", json={"to_s": 4.5})).json()["node"]["id"]
        found = (await app.http.get(f"{url}/diff", params={"a": root, "b": part})).json()
        assert (found["ancestor_id"], found["unit"]) == (None, "window")
        assert [row["same"] for row in found["rows"]] == [True, True, False, False]
        assert [row["b_to_s"] for row in found["rows"]] == [2.0, 4.0, 4.5, None]
        assert found["rows"][2]["changed_from_s"] == 4.5
        assert found["parameters"] == [{"name": "duration_s", "a": 7.0, "b": 4.5}]
        takes = (await app.branch(chain["id"], root, duration_s=2.5, takes=2, seed=3, prompt="x"))["nodes"]
        for take in takes:
            await app.finished(chain["id"], take["id"])
        both = {"a": takes[0]["id"], "b": takes[1]["id"]}
        found = (await app.http.get(f"{url}/diff", params=both)).json()
        assert found["ancestor_id"] == root
        assert [(row["a_from_s"], row["a_to_s"]) for row in found["rows"]] == [(7.0, 9.0), (9.0, 9.5)]
        assert [each["name"] for each in found["parameters"]] == ["seed"]
        itself = (await app.http.get(f"{url}/diff", params={"a": root, "b": root})).json()
        assert (itself["ancestor_id"], itself["rows"], itself["parameters"]) == (root, [], [])
        longer = (await app.http.get(f"{url}/diff", params={"a": root, "b": takes[0]["id"]})).json()
        assert {row["a_from_s"] for row in longer["rows"]} == {None}
        problem(await app.http.get(f"{url}/diff", params={"a": root, "b": "nobody"}), 404)
        problem(await app.http.get(f"{url}/diff", params={"a": root}), 422)
        problem(await app.http.get("/v1/chains/nothing/diff", params=both), 404)


async def test_bars_are_compared_where_they_are_known() -> None:
    async with running({"mock": MockEngine()}, analyser=MockAnalyser()) as app:
        chain = await app.upload(wav(NOISE))
        url, root = f"/v1/chains/{chain['id']}", chain["root_id"]
        pending = await app.http.post(f"{url}/nodes/{root}/crop", json={"to_s": 6.0})
        part = pending.json()["node"]["id"]
        found = (await app.http.get(f"{url}/diff", params={"a": root, "b": part})).json()
        assert found["unit"] == "bar"
        edges = [row["a_from_s"] for row in found["rows"]]
        assert edges == pytest.approx([0.0, 2.0, 4.0, 6.0])  # four beats at 120 bpm
        assert [row["same"] for row in found["rows"]] == [True, True, True, False]


async def test_what_has_no_audio_is_not_compared() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        chain = await app.upload(wav(NOISE[:, :RATE_HZ]))
        pending = (await app.branch(chain["id"], chain["root_id"], duration_s=0.5))["nodes"][0]["id"]
        params = {"a": chain["root_id"], "b": pending}
        refused = problem(await app.http.get(f"/v1/chains/{chain['id']}/diff", params=params), 409)
        assert pending in refused["detail"]
