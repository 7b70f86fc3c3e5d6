"""Analyses of nodes over HTTP: begun by uploads, asked for, cached, composed from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.analysis.protocol import AnalysisRequest
from deployments.engines.common.errors import EngineBroken
from deployments.engines.music.mock import MockEngine
from tests.serve_app.followers import following
from tests.support.harness import Running, listening, problem, running, tone, wav
from tests.support.patience import PATIENCE_S, until


class Listener(MockAnalyser):
    """Counts what it hears, and hears tempos as `bpms` says, one after the other."""

    def __init__(self, *bpms: float, fails: int = 0) -> None:
        super().__init__()
        self.heard: list[AnalysisRequest] = []
        self._bpms = list(bpms)
        self._fails = fails

    async def analyse(self, request: AnalysisRequest) -> Analysis:
        self.heard.append(request)
        if len(self.heard) <= self._fails:
            raise EngineBroken("dead")
        said = await super().analyse(request)
        if self._bpms:
            return replace(said, rhythm=replace(said.rhythm, bpm=self._bpms.pop(0)))
        return said


@asynccontextmanager
async def studio(analyser: Listener | None = None, **more: Any) -> AsyncIterator[Running]:
    more.setdefault("overrides", {"analysis": {"automatic": False}})
    async with running({"mock": MockEngine()}, analyser=analyser or Listener(), **more) as app:
        yield app


async def uploaded(app: Running, duration_s: float = 2.0) -> dict[str, Any]:
    return await app.upload(wav(tone(duration_s)))


def url_of(chain: dict[str, Any], node_id: str | None = None) -> str:
    return f"/v1/chains/{chain['id']}/nodes/{node_id or chain['root_id']}/analysis"


async def analysed(app: Running, url: str, **body: Any) -> dict[str, Any]:
    answer = await app.http.post(url, json=body)
    assert answer.status_code == 202, answer.text
    await app.ended(answer.json()["job_id"])
    said: dict[str, Any] = (await app.http.get(url)).json()
    return said


async def test_an_upload_is_analysed_by_itself() -> None:
    async with studio(overrides={}) as app:
        chain = await uploaded(app)
        (root,) = chain["nodes"]
        assert root["analysis"]["status"] in ("pending", "running", "ready")
        job = await app.ended(root["analysis"]["job_id"])
        assert (job["kind"], job["state"]) == ("analysis", "succeeded")
        shown = (await app.node(chain["id"], chain["root_id"]))["analysis"]
        assert (shown["bpm"], shown["key"], shown["style_id"]) == (120, "A minor", "ambient")
        said = (await app.http.get(url_of(chain))).json()
        assert said["status"] == "ready"
        assert said["analysis"]["melody"] is None
        assert len(said["analysis"]["rhythm"]["beats_s"]) == 4


async def test_an_upload_does_not_fail_for_want_of_an_analysis() -> None:
    async with studio(overrides={"jobs": {"max_active_per_tenant": 1}}, work=False) as app:
        assert (await uploaded(app))["nodes"][0]["analysis"] is not None
        assert (await uploaded(app, 1.0))["nodes"][0]["analysis"] is None


async def test_asked_twice_it_is_one_job_and_with_the_melody_another() -> None:
    async with studio() as app:
        url = url_of(await uploaded(app))
        assert (await app.http.get(url)).json()["status"] == "none"
        first = (await app.http.post(url, json={"melody": False})).json()
        assert (await app.http.post(url, json={"melody": False})).json()["job_id"] == first["job_id"]
        said = await analysed(app, url)
        assert said["analysis"]["melody"]["f0_hz"][0] == 440
        assert len(said["runs"]) == 2
        assert said["runs"][0]["job_id"] == first["job_id"]


async def test_the_same_audio_is_heard_once() -> None:
    analyser = Listener()
    async with studio(analyser) as app:
        for _ in range(2):
            said = await analysed(app, url_of(await uploaded(app)))
            assert said["analysis"]["key"]["name"] == "A minor"
        assert len(analyser.heard) == 1
        await analysed(app, url_of(await uploaded(app, 1.5)))
        assert len(analyser.heard) == 2


async def test_a_long_clip_is_heard_from_its_beginning() -> None:
    analyser = Listener()
    async with studio(analyser, overrides={"analysis": {"automatic": False, "max_duration_s": 1.0}}) as app:
        await analysed(app, url_of(await uploaded(app)))
        assert analyser.heard[0].samples.shape == (2, 44_100)


async def test_it_is_tried_again_and_then_it_fails() -> None:
    async with studio(Listener(fails=1)) as app:
        said = await analysed(app, url_of(await uploaded(app)))
        assert said["status"] == "ready"
    async with studio(Listener(fails=100)) as app:
        said = await analysed(app, url_of(await uploaded(app)))
        assert said["status"] == "failed"
        assert said["analysis"] is None
        assert said["runs"][0]["error"]["detail"]


async def test_subscribers_see_it() -> None:
    async with studio() as app, listening(app.api) as http:
        chain = await uploaded(app)
        path = f"/v1/chains/{chain['id']}/events"
        async with http.stream("GET", path, headers={"Last-Event-ID": str(chain["version"])}) as events:
            asked = asyncio.create_task(app.http.post(url_of(chain), json={}))
            async with asyncio.timeout(PATIENCE_S):
                async for line in events.aiter_lines():
                    if line.startswith("data:") and '"bpm"' in line:
                        shown = json.loads(line[5:])
                        if shown["analysis"]["bpm"] == 120:
                            break
            await asked


async def test_what_cannot_be_analysed_is_refused() -> None:
    async with studio(work=False) as app:
        chain = await uploaded(app)
        problem(await app.http.post(url_of(chain, "nobody"), json={}), 404)
        problem(await app.http.post(url_of(chain), json={"loudly": True}), 422)
        pending = (await app.branch(chain["id"], chain["root_id"]))["nodes"][0]["id"]
        problem(await app.http.post(url_of(chain, pending), json={}), 409)
    async with running({"mock": MockEngine()}, work=False) as app:
        answer = await app.http.post(url_of(await uploaded(app)), json={})
        assert problem(answer, 404)["type"].endswith("no-analyser")


class TestCompose:
    async def test_what_is_heard_is_the_prompt_and_what_came_is_compared(self) -> None:
        async with studio() as app:
            chain = await uploaded(app)
            wanted = {"mode": "compose", "prompt": "with strings", "key": "C", "seed": 5}
            made = await app.branch(chain["id"], chain["root_id"], **wanted)
            node = await app.finished(chain["id"], made["nodes"][0]["id"])
            assert node["status"] == "ready", node
            assert node["prompt"] == "with strings"
            told = node["analysis"]["composed_prompt"]
            assert told.startswith("with strings")
            assert "120 bpm" in told
            assert "C major" in told
            kept_to = node["analysis"]["adherence"]
            assert (kept_to["bpm_asked"], kept_to["bpm_score"]) == (120, 1.0)
            # A minor is the relative of C major.
            assert (kept_to["key_asked"], kept_to["key_heard"], kept_to["key_score"]) == ("C", "A minor", 0.3)
            assert kept_to["score"] == pytest.approx(0.65)
            provenance = await app.http.get(f"/v1/chains/{chain['id']}/nodes/{node['id']}/provenance")
            assert provenance.json()["prompt"] == told

    async def test_wishes_in_any_mode_are_said_and_compared(self) -> None:
        async with studio() as app:
            chain = await app.generated("slow strings", bpm=120, key="A minor", mood="calm")
            (root,) = chain["nodes"]
            assert root["analysis"]["composed_prompt"] == "slow strings, calm, 120 bpm, A minor"
            assert root["analysis"]["adherence"]["score"] == 1.0
            made = await app.branch(chain["id"], chain["root_id"], mode="text", prompt="x", key="C")
            node = await app.finished(chain["id"], made["nodes"][0]["id"])
            assert node["analysis"]["adherence"]["key_score"] == 0.3

    async def test_without_an_analyser_nothing_is_composed(self) -> None:
        async with running({"mock": MockEngine()}, work=False) as app:
            chain = await uploaded(app)
            body = {"parent_id": chain["root_id"], "mode": "compose"}
            answer = await app.http.post(f"/v1/chains/{chain['id']}/nodes", json=body)
            assert problem(answer, 422)["errors"][0]["field"] == "mode"

    async def test_takes_are_ranked(self) -> None:
        async with studio(
            Listener(120, 120, 120, 60, 120.5, 101),
            overrides={"analysis": {"automatic": False}, "jobs": {"concurrent": 1}},
        ) as app:
            chain = await uploaded(app)
            wanted = {"mode": "compose", "bpm": 120, "key": "A minor", "takes": 3}
            async with following(app, chain["id"]) as follower:
                made = await app.branch(chain["id"], chain["root_id"], **wanted)
                for node in made["nodes"]:
                    await app.finished(chain["id"], node["id"])
                shown = await app.chain(chain["id"])
                takes = shown["nodes"][1:]
                held = await follower.until_at(shown["version"])
            # Who follows the chain is told of a take's rank again when a later take changes it.
            assert [node["analysis"] for node in held.chain["nodes"][1:]] == [
                take["analysis"] for take in takes
            ]
            by_score = sorted(takes, key=lambda node: -node["analysis"]["adherence"]["score"])
            assert by_score[0]["analysis"]["rank"] == 1
            assert all(
                first["analysis"]["rank"] < second["analysis"]["rank"]
                or first["analysis"]["adherence"]["score"] == second["analysis"]["adherence"]["score"]
                for first, second in pairwise(by_score)
            )

    async def test_a_take_is_not_lost_because_nobody_could_hear_it(self) -> None:
        class DeafToTakes(Listener):
            async def analyse(self, request: AnalysisRequest) -> Analysis:
                if self.heard:
                    raise EngineBroken("dead")
                return await super().analyse(request)

        async with studio(DeafToTakes()) as app:
            chain = await uploaded(app)
            made = await app.branch(chain["id"], chain["root_id"], mode="compose")
            node = await app.finished(chain["id"], made["nodes"][0]["id"])
            assert node["status"] == "ready"
            assert node["analysis"] is None

    @pytest.mark.parametrize(
        "body", [{"bpm": 5}, {"key": "H"}, {"mode": "compose", "key": "H"}, {"mode": "compose", "bpm": 5}]
    )
    async def test_wishes_have_to_make_sense(self, body: dict[str, Any]) -> None:
        async with studio(work=False) as app:
            chain = await uploaded(app)
            answer = await app.http.post(
                f"/v1/chains/{chain['id']}/nodes", json={"parent_id": chain["root_id"], **body}
            )
            assert problem(answer, 422)["errors"][0]["field"] in ("bpm", "key")

    async def test_a_deleted_chain_takes_its_analyses_along(self) -> None:
        async with studio(work=False) as app:
            chain = await uploaded(app)
            job_id = (await app.http.post(url_of(chain), json={})).json()["job_id"]
            await app.http.delete(f"/v1/chains/{chain['id']}")
            await until(lambda: _is_cancelled(app, job_id))


async def _is_cancelled(app: Running, job_id: str) -> bool:
    return bool((await app.job(job_id))["state"] == "cancelled")
