"""One stream of a tenant's changes: whoever follows it holds the list, the jobs and the open chain as they are."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from deployments.engines.music.mock import MockEngine
from deployments.worker import foresight
from storage import paths
from storage.stores.memory import MemoryStore
from tests.serve_app.followers import Frame, frames_in, parsed
from tests.support.faulty_store import FaultyStore, Outage
from tests.support.harness import Running, listening, problem, running, tone, wav
from tests.support.patience import PATIENCE_S, until

CLIP = wav(tone(0.2, 8000), 8000)
BRIEF = {"events": {"poll_s": 0.05, "max_stream_s": 0.01}}
QUICK = {"events": {"poll_s": 0.05}}


class Tenant:
    """A client's own copy of what a tenant has, as the frames make it; `place` is where it would resume."""

    def __init__(self) -> None:
        self.chains: dict[str, Any] = {}
        self.jobs: dict[str, Any] = {}
        self.open: dict[str, Any] | None = None
        self.place: str | None = None
        self.frames: list[Frame] = []

    def take(self, frame: Frame) -> None:
        self.frames.append(frame)
        match frame.event:
            case "snapshot":
                self.chains = {chain["id"]: chain for chain in frame.data["chains"]}
                self.jobs = {job["id"]: job for job in frame.data["jobs"]}
            case "chain":
                self.chains[frame.data["id"]] = frame.data
                if self.open is not None and frame.data["id"] == self.open["id"]:
                    self.open |= {name: value for name, value in frame.data.items() if name in self.open}
            case "chain_deleted":
                del self.chains[frame.data["id"]]
            case "job":
                self.jobs[frame.data["id"]] = frame.data
            case "open":
                self.open = dict(frame.data)
            case "node":
                assert self.open is not None
                node = dict(frame.data)
                assert node.pop("chain_id") == self.open["id"]
                nodes = {known["id"]: known for known in self.open["nodes"]} | {node["id"]: node}
                self.open["nodes"] = list(nodes.values())
        if frame.id is not None:
            self.place = str(frame.id)

    @property
    def unfinished(self) -> set[str]:
        return {job_id for job_id, job in self.jobs.items() if job["state"] in ("queued", "running")}

    @property
    def names(self) -> list[str]:
        return [frame.event for frame in self.frames if frame.event not in ("comment", "retry", "progress")]


def url_of(chain_id: str | None) -> str:
    return "/v1/events" if chain_id is None else f"/v1/events?chain={chain_id}"


@asynccontextmanager
async def followed(
    app: Running,
    chain_id: str | None = None,
    copy: Tenant | None = None,
    headers: dict[str, str] | None = None,
) -> AsyncIterator[Tenant]:
    copy = copy or Tenant()
    sent = dict(headers or {}) | ({} if copy.place is None else {"Last-Event-ID": copy.place})

    async def read(response: httpx.Response) -> None:
        pending = ""
        async for text in response.aiter_text():
            *blocks, pending = (pending + text).split("\n\n")
            for block in blocks:
                copy.take(parsed(block))

    async with (
        listening(app.api) as http,
        http.stream("GET", url_of(chain_id), headers=sent, timeout=PATIENCE_S) as response,
    ):
        assert response.status_code == 200
        reading = asyncio.create_task(read(response))
        try:
            yield copy
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def now(app: Running, chain_id: str | None = None) -> Tenant:
    """What a client gets that begins now, of an application with BRIEF streams."""
    return await resumed(app, Tenant(), chain_id)


async def resumed(app: Running, copy: Tenant, chain_id: str | None = None) -> Tenant:
    headers = {} if copy.place is None else {"Last-Event-ID": copy.place}
    answer = await app.http.get(url_of(chain_id), headers=headers)
    assert answer.status_code == 200, answer.text
    for frame in frames_in(answer.text):
        copy.take(frame)
    return copy


async def session(app: Running, choose: random.Random, steps: int, kept: str) -> None:
    """Whatever musicians do, to any chain but that `kept` is never deleted."""
    for step in range(steps):
        chains = (await app.http.get("/v1/chains")).json()["chains"]
        chain = choose.choice(chains)
        node = choose.choice(chain["nodes"])
        url = f"/v1/chains/{chain['id']}"
        match choose.choice(["upload", "rename", "branch", "branch", "decide", "decide", "delete", "export"]):
            case "upload":
                await app.upload(CLIP, title=f"clip {step}")
            case "rename":
                await app.http.patch(url, json={"title": f"title {step}"})
            case "branch":
                body = {"parent_id": node["id"], "duration_s": 0.5, "takes": choose.randint(1, 2)}
                answer = await app.http.post(f"{url}/nodes", json=body)
                if answer.status_code == 202 and choose.random() < 0.3:
                    await app.http.delete(f"/v1/jobs/{answer.json()['job_id']}")
            case "decide":
                decision = choose.choice(["commit", "discard", "uncommit", "restore", "cancel_others"])
                await app.http.post(f"{url}/nodes/{node['id']}/{decision}")
            case "delete":
                if chain["id"] != kept:
                    await app.http.delete(url)
            case "export":
                await app.http.post(f"{url}/export", json={"format": "wav"})


def holds(copy: Tenant, truth: Tenant) -> Callable[[], bool]:
    return lambda: (copy.chains, copy.open, copy.unfinished) == (truth.chains, truth.open, set())


@pytest.mark.parametrize("here", [True, False], ids=["this process", "another process, no hub"])
async def test_a_client_that_follows_holds_what_one_that_begins_gets(here: bool) -> None:
    store = MemoryStore()
    slow = {"events": {"poll_s": 30 if here else 0.05}}
    async with (
        running({"mock": MockEngine()}, store=store, overrides=slow) as app,
        running({"mock": MockEngine()}, store=store, overrides=slow, work=False) as other,
        running({"mock": MockEngine()}, store=store, overrides=BRIEF, work=False) as third,
    ):
        kept = (await app.upload(CLIP, title="kept"))["id"]
        async with followed(app if here else other, kept) as copy:
            await session(app, random.Random(1), 24, kept)
            await app.rest()
            truth = await now(third, kept)
            assert truth.names[:2] == ["snapshot", "open"]
            assert truth.open == await app.chain(kept)
            await until(holds(copy, truth))
        assert copy.names.count("snapshot") == copy.names.count("open") == 1
        assert {"chain", "job", "node"} <= set(copy.names)
        assert {job["state"] for job in copy.jobs.values()} <= {"succeeded", "cancelled", "failed"}


async def test_a_client_that_comes_back_gets_what_it_lacks_and_no_more() -> None:
    async with running({"mock": MockEngine()}, overrides=BRIEF) as app:
        kept = (await app.upload(CLIP, title="kept"))["id"]
        choose, copy = random.Random(2), await now(app, kept)
        for _ in range(5):
            await session(app, choose, 4, kept)
            await app.rest()
            await resumed(app, copy, kept)
            assert holds(copy, await now(app, kept))()
        assert copy.names.count("snapshot") == 1
        known = len(copy.names)
        await resumed(app, copy, kept)
        assert set(copy.names[known:]) <= {"chain"}  # the open chain in short, with the id


async def test_who_comes_from_elsewhere_begins_anew() -> None:
    store = MemoryStore()
    async with (
        running({"mock": MockEngine()}, store=store, overrides=BRIEF) as app,
        running({"mock": MockEngine()}, store=store, overrides=BRIEF) as other,
    ):
        chain = await app.upload(CLIP, title="kept")
        place = (await now(other)).place
        assert place is not None
        for unknown in (place, "0", "abc", "-1", "00000000-0-0", f"{place[:8]}-999999999999-0", "٣"):
            copy = Tenant()
            answer = await app.http.get("/v1/events", headers=[(b"last-event-id", unknown.encode())])
            for frame in frames_in(answer.text):
                copy.take(frame)
            assert copy.names == ["snapshot"], unknown
            assert list(copy.chains) == [chain["id"]]
            assert copy.frames[1].data["version"] == copy.place
        # Another chain is opened than the one before: it comes whole.
        first = await now(app, chain["id"])
        second = (await app.upload(CLIP, title="second"))["id"]
        await resumed(app, first, second)
        assert first.names[-1] == "open"
        assert first.open is not None
        assert first.open["id"] == second
        problem(await app.http.get("/v1/events?chain=nothing"), 404)
        await app.http.delete(f"/v1/chains/{second}")
        problem(await app.http.get(url_of(second)), 404)


async def test_an_open_chain_that_is_deleted_leaves_the_rest_of_the_stream() -> None:
    async with running({"mock": MockEngine()}, overrides=QUICK) as app:
        kept, gone = [(await app.upload(CLIP))["id"] for _ in range(2)]
        async with followed(app, gone) as copy:
            await until(lambda: copy.place is not None)
            await app.http.delete(f"/v1/chains/{gone}")
            await until(lambda: "chain_deleted" in copy.names)
            await app.http.patch(f"/v1/chains/{kept}", json={"title": "goes on"})
            await until(lambda: copy.chains[kept]["title"] == "goes on")


async def test_a_job_is_seen_from_its_queue_to_its_end() -> None:
    engine = MockEngine(step_delay_s=0.05)
    async with running({"mock": engine}, overrides={**QUICK, "jobs": {"concurrent": 1}}) as app:
        chain = await app.upload(CLIP)
        async with followed(app) as copy:
            await until(lambda: copy.place is not None)
            asked = await app.branch(chain["id"], chain["root_id"], duration_s=0.5, takes=2)
            for job_id in asked["job_ids"]:
                await app.ended(job_id)
            await app.http.post(f"/v1/chains/{chain['id']}/export", json={"format": "wav"})
            await app.rest()
            await until(lambda: len(copy.jobs) >= 3 and not copy.unfinished)
        states: dict[str, list[str]] = {}
        for frame in copy.frames:
            if frame.event == "job":
                states.setdefault(frame.data["id"], []).append(frame.data["state"])
        assert states[asked["job_ids"][1]][0] == "queued"
        assert [said[-1] for said in states.values()] == ["succeeded"] * len(states)
        assert {job["kind"] for job in copy.jobs.values()} >= {"generate", "export"}
        heard = {frame.data["job_id"] for frame in copy.frames if frame.event == "progress"}
        assert heard & set(asked["job_ids"])


async def test_what_waits_knows_its_place_and_what_runs_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foresight, "REPORT_S", 0.02)
    engine = MockEngine(step_delay_s=0.1)
    async with running({"mock": engine}, overrides={**QUICK, "jobs": {"concurrent": 1}}) as app:
        chain = await app.upload(CLIP)
        async with followed(app) as copy:
            await until(lambda: copy.place is not None)
            asked = await app.branch(chain["id"], chain["root_id"], duration_s=0.5, takes=3)
            jobs = asked["job_ids"]

            async def second_in_line() -> bool:
                last = await app.job(jobs[2])
                node = await app.node(chain["id"], asked["nodes"][2]["id"])
                return (last["queue_position"], node["queue_position"]) == (2, 2)

            await until(second_in_line)
            assert (await app.job(jobs[2]))["state"] == "queued"

            async def is_foreseen() -> bool:
                first, last = [await app.job(job_id) for job_id in (jobs[0], jobs[2])]
                return None not in (first["eta_s"], last["eta_s"]) and first["queue_position"] is None

            await until(is_foreseen)
            for job_id in jobs:
                await app.ended(job_id)
            done = await app.job(jobs[2])
            assert (done["queue_position"], done["eta_s"]) == (None, None)
            said = {job_id: [] for job_id in jobs}
            for frame in copy.frames:
                if frame.event == "progress":
                    said[frame.data["job_id"]].append(frame.data)
        places = [frame["queue_position"] for frame in said[jobs[2]] if frame["queue_position"]]
        assert places == sorted(places, reverse=True)
        assert {2, 1} <= set(places)
        assert all(frame["queue_position"] is None for frame in said[jobs[2]] if frame["progress"] > 0)
        assert [frame["eta_s"] for frame in said[jobs[1]] if frame["eta_s"] is not None]


async def test_nobody_sees_anothers_chains_or_jobs() -> None:
    keys = {"mine": "a", "yours": "b"}
    access = {
        "keys": [
            {"sha256": hashlib.sha256(key.encode()).hexdigest(), "tenant": tenant, "tier": "paid"}
            for tenant, key in keys.items()
        ]
    }
    async with running({"mock": MockEngine()}, overrides={**QUICK, "access": access}) as app:
        problem(await app.http.get("/v1/events"), 401)
        mine, yours = ({"X-API-Key": key} for key in keys.values())
        async with followed(app, headers=mine) as copy:
            await until(lambda: copy.place is not None)
            app.http.headers.update(yours)
            theirs = await app.upload(CLIP, title="secret")
            made = await app.branch(theirs["id"], theirs["root_id"], duration_s=0.5)
            await app.finished(theirs["id"], made["nodes"][0]["id"])
            await app.rest()
            app.http.headers.update(mine)
            problem(await app.http.get(url_of(theirs["id"])), 404)
            own = await app.upload(CLIP, title="own")
            await until(lambda: own["id"] in copy.chains)
        told = repr(copy.frames)
        assert not [word for word in (theirs["id"], "secret", made["job_id"]) if word in told]


def listings(store: FaultyStore) -> int:
    """How often the chains have been listed."""
    return store.count("list", "tenants/local/chains/")


async def test_clients_that_wait_cost_one_listing_for_all_of_them_and_no_reading() -> None:
    store = FaultyStore()
    async with running({"mock": MockEngine()}, store=store, overrides=QUICK, work=False) as app:
        chains = [await app.upload(CLIP) for _ in range(6)]
        await app.http.delete(f"/v1/chains/{chains.pop()['id']}")
        async with followed(app) as one, followed(app) as two, followed(app) as three:
            copies = (one, two, three)
            await until(lambda: all(copy.place is not None for copy in copies))
            looks = listings(store) + 1
            await until(lambda: listings(store) > looks)  # the looks at each one's beginning are over
            store.calls.clear()
            await until(lambda: listings(store) >= 4)
            assert store.count("get") <= 4 * len(
                copies
            )  # nothing of the chains: a look at jobs that wait, at most
            gets = store.count("get")
            await app.http.patch(f"/v1/chains/{chains[0]['id']}", json={"title": "new"})
            await until(lambda: all(copy.chains[chains[0]["id"]]["title"] == "new" for copy in copies))
            assert store.count("get") - gets < len(chains)


async def test_a_store_that_was_away_is_caught_up_with() -> None:
    store = FaultyStore()
    async with running({"mock": MockEngine()}, store=store, overrides=QUICK, work=False) as app:
        chain = await app.upload(CLIP)
        async with (
            running({"mock": MockEngine()}, store=store, overrides=QUICK, work=False) as other,
            followed(other, chain["id"]) as copy,
        ):
            await until(lambda: copy.place is not None)
            store.outage = Outage(("get", "list"))
            problem(await other.http.get("/v1/events"), 503)
            looks = listings(store)
            await until(lambda: listings(store) > looks + 1)
            store.outage = None
            await app.http.patch(f"/v1/chains/{chain['id']}", json={"title": "after all"})
            await until(lambda: copy.open is not None and copy.open["title"] == "after all")


async def test_a_damaged_chain_is_named_and_hides_no_other() -> None:
    async with running({"mock": MockEngine()}, overrides=BRIEF) as app:
        whole, broken = [(await app.upload(CLIP))["id"] for _ in range(2)]
        copy = await now(app)
        key = paths.chain("local", broken)
        kept = (await app.store.get(key)).data
        await app.store.put(key, b"{}")
        await resumed(app, copy)
        assert list(copy.chains) == [whole]
        assert copy.names[-1] == "chain_deleted"
        snapshot = next(frame for frame in (await now(app)).frames if frame.event == "snapshot")
        assert snapshot.data["damaged"] == [broken]
        await app.store.put(key, kept)
        await resumed(app, copy)
        assert set(copy.chains) == {whole, broken}


async def test_a_quiet_stream_beats_and_ends_after_its_life() -> None:
    overrides = {"events": {"poll_s": 0.05, "heartbeat_s": 0.1, "max_stream_s": 1.0}}
    async with running({"mock": MockEngine()}, overrides=overrides, work=False) as app:
        frames = frames_in((await app.http.get("/v1/events")).text)
        assert [frame.event for frame in frames[:2]] == ["retry", "snapshot"]
        assert "comment" in [frame.event for frame in frames]
