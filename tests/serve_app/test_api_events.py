"""A chain's event stream: whoever follows it holds the chain as it is, whatever got lost on the way."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from deployments.engines.music.mock import MockEngine
from deployments.events.bus import Batch, ChainChanged, Cursor, LocalBus, Notice
from serve_app.events import streams
from tests.serve_app.followers import Follower, Frame, Replica, following, frames_in
from tests.support import harness
from tests.support.harness import Running, listening, problem, running, tone, wav
from tests.support.patience import PATIENCE_S

BRIEF = {"events": {"poll_s": 0.02, "max_stream_s": 0.01}}
"""A stream that ends once it has said what the client lacked."""


async def rename(app: Running, chain_id: str, title: str) -> int:
    answer = await app.http.patch(f"/v1/chains/{chain_id}", json={"title": title})
    version: int = answer.json()["version"]
    return version


async def resumed(app: Running, chain_id: str, since: int, *, query: bool = False) -> list[Frame]:
    """What a stream says that begins after version `since`, of an app with `BRIEF` streams."""
    answer = await app.http.get(
        f"/v1/chains/{chain_id}/events",
        params={"last_event_id": since} if query else {},
        headers={} if query else {"Last-Event-ID": str(since)},
    )
    assert answer.status_code == 200
    return frames_in(answer.text)


async def test_the_first_frame_is_a_snapshot_and_then_every_change_is_told() -> None:
    async with running({"mock": MockEngine()}, overrides={"events": {"poll_s": 5}}) as app:
        chain = await app.generated(title="one")
        async with following(app, chain["id"]) as follower:
            replica = await follower.until_at(chain["version"])
            assert replica.frames[:2] == [
                Frame("retry", {"ms": streams.RECONNECT_MS}),
                Frame("snapshot", chain, chain["version"]),
            ]
            for title in ("two", "three", "four"):
                await follower.until_at(await rename(app, chain["id"], title))
            titles = [frame.data["title"] for frame in replica.frames if frame.event == "chain"]
            assert titles == ["two", "three", "four"]

            branched = await app.branch(chain["id"], chain["root_id"], duration_s=0.5, takes=2)
            for node in branched["nodes"]:
                await app.finished(chain["id"], node["id"])
            last = await app.http.post(f"/v1/chains/{chain['id']}/nodes/{branched['nodes'][1]['id']}/commit")
            replica = await follower.until_at(last.json()["version"])
            assert replica.chain == await app.chain(chain["id"])


async def test_only_the_last_frame_of_a_version_names_it() -> None:
    async with running({"mock": MockEngine(step_delay_s=0.03)}, overrides={"events": {"poll_s": 5}}) as app:
        chain = await app.generated()
        async with following(app, chain["id"]) as follower:
            branched = await app.branch(chain["id"], chain["root_id"], duration_s=0.5, takes=3)
            for node in branched["nodes"]:
                await app.finished(chain["id"], node["id"])
            replica = await follower.until_at((await app.chain(chain["id"]))["version"])
        named = [frame.event for frame in replica.frames if frame.id is not None]
        assert set(named) == {"snapshot", "chain"}
        assert all(frame.id is not None for frame in replica.frames if frame.event in ("snapshot", "chain"))
        assert {"node", "progress"} <= {frame.event for frame in replica.frames}
        versions = [frame.id for frame in replica.frames if frame.id is not None]
        assert versions == sorted(set(versions))
        # A node is told of before the frame that names the version.
        assert replica.names[-1] == "chain"
        for frame in replica.frames:
            if frame.event == "progress":
                assert frame.data["job_id"] in branched["job_ids"]
                assert 0.0 <= frame.data["progress"] <= 1.0


@pytest.mark.parametrize("seed", range(3))
async def test_an_old_state_and_the_events_after_it_are_the_new_state(seed: int) -> None:
    """A random session is followed live and resumed from every version that it went through."""
    choose = random.Random(seed)
    async with running({"mock": MockEngine()}, overrides=BRIEF) as app:
        chain = await app.generated()
        url = f"/v1/chains/{chain['id']}"
        states = {chain["version"]: chain}
        copy = Replica(chain)
        for step in range(10):
            nodes = (await app.chain(chain["id"]))["nodes"]
            picked = choose.choice(nodes)["id"]
            match choose.choice(
                ["rename", "branch", "branch", "commit", "commit", "discard", "uncommit", "restore"]
            ):
                case "rename":
                    await rename(app, chain["id"], f"title {step}")
                case "branch":
                    body = {"parent_id": picked, "duration_s": 0.5, "takes": choose.randint(1, 2)}
                    answer = await app.http.post(f"{url}/nodes", json=body)
                    if answer.status_code == 202 and choose.random() < 0.3:
                        await app.http.delete(f"/v1/jobs/{answer.json()['job_id']}")
                    for node in answer.json().get("nodes", []):
                        await app.finished(chain["id"], node["id"])
                case decision:
                    await app.http.post(f"{url}/nodes/{picked}/{decision}")
            state = await app.chain(chain["id"])
            states[state["version"]] = state
            for frame in await resumed(app, chain["id"], copy.version):
                copy.take(frame)
            assert copy.chain == state
        final = await app.chain(chain["id"])
        assert final["version"] > chain["version"]
        for version, state in states.items():
            replica = Replica(state)
            for frame in await resumed(app, chain["id"], version):
                replica.take(frame)
            assert "snapshot" not in replica.names
            assert replica.chain == final
            assert replica.version == final["version"]


async def test_a_chain_that_began_with_a_prompt_is_followed_from_before_its_first_sound() -> None:
    async with running({"mock": MockEngine()}, overrides=BRIEF, work=False) as app:
        made = (await app.http.post("/v1/chains", json={"prompt": "a harp", "duration_s": 0.5})).json()
        copy = Replica(await app.chain(made["id"]))
        app.worker.start()
        await app.finished(made["id"], made["root_id"])
        for frame in await resumed(app, made["id"], copy.version):
            copy.take(frame)
        assert copy.chain == await app.chain(made["id"])
        assert copy.chain["sample_rate_hz"] == 32_000


async def test_resuming_where_there_is_nothing_to_resume_from_gives_all() -> None:
    async with running({"mock": MockEngine()}, overrides=BRIEF) as app:
        chain = await app.generated()
        for version in range(3):
            await rename(app, chain["id"], f"title {version}")
        final = await app.chain(chain["id"])
        nothing_new = await resumed(app, chain["id"], final["version"])
        assert [frame.event for frame in nothing_new if frame.event != "comment"] == ["retry"]
        for unknown in (0, -1, final["version"] + 1, 10**17, 10**40, "abc", "1.5", "", "٣", None):
            raw = str(unknown).encode() if unknown is not None else None
            answer = await app.http.get(
                f"/v1/chains/{chain['id']}/events",
                headers=[] if raw is None else [(b"last-event-id", raw)],
            )
            [_, frame, *_] = frames_in(answer.text)
            assert frame == Frame("snapshot", final, final["version"]), unknown
        # EventSource cannot set a header at its first connection.
        asked = await resumed(app, chain["id"], final["version"] - 1, query=True)
        assert [frame.event for frame in asked if frame.event != "comment"] == ["retry", "chain"]


async def test_a_quiet_stream_beats_and_ends_after_its_life() -> None:
    overrides = {"events": {"poll_s": 0.05, "heartbeat_s": 0.1, "max_stream_s": 1.5}}
    async with running({"mock": MockEngine()}, overrides=overrides) as app:
        chain = await app.generated()
        began_s = time.monotonic()
        async with following(app, chain["id"]) as follower:
            async with asyncio.timeout(PATIENCE_S):
                await follower.ended.wait()
        lasted_s = time.monotonic() - began_s
        assert lasted_s >= 1.4
        beats = [frame for frame in follower.replica.frames if frame.event == "comment"]
        assert 2 <= len(beats) <= lasted_s / 0.1
        assert follower.replica.names == ["snapshot"]


async def test_a_deleted_chain_says_so_and_ends() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated(title="gone soon")
        async with following(app, chain["id"]) as follower:
            await follower.until_at(chain["version"])
            await app.http.delete(f"/v1/chains/{chain['id']}")
            async with asyncio.timeout(PATIENCE_S):
                await follower.ended.wait()
            last = follower.replica.frames[-1]
            assert (last.event, last.data["deleted"], last.id) == ("chain", True, chain["version"] + 1)
        problem(await app.http.get(f"/v1/chains/{chain['id']}/events"), 404)
        problem(await app.http.get("/v1/chains/nothing/events"), 404)


class DeadBus(LocalBus):
    async def publish(self, notice: Notice) -> None:
        raise ConnectionError("the hub is gone")

    async def after(self, cursor: Cursor | None, timeout_s: float) -> Batch:
        raise ConnectionError("the hub is gone")


class LossyBus(LocalBus):
    """Lets progress through, of which there is always some, and loses every word of a change."""

    async def publish(self, notice: Notice) -> None:
        if not isinstance(notice, ChainChanged):
            await super().publish(notice)


@pytest.mark.parametrize("bus", [DeadBus, LossyBus])
async def test_changes_are_told_without_the_hub(bus: type[LocalBus], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "LocalBus", bus)
    engine = MockEngine(step_delay_s=1.2)
    overrides = {"events": {"poll_s": 1.5}, "jobs": {"concurrent": 1}}
    async with running({"mock": engine}, overrides=overrides) as app:
        chain = await app.upload(wav(tone(0.2)))
        # One after the other: for longer than anybody waits, progress is told more often than is polled.
        await app.branch(chain["id"], chain["root_id"], duration_s=0.5, takes=4)
        async with following(app, chain["id"]) as follower:
            version = await rename(app, chain["id"], "in the dark")
            replica = await follower.until_at(version)
            assert replica.chain["title"] == "in the dark"
            await app.http.delete(f"/v1/chains/{chain['id']}")
            async with asyncio.timeout(PATIENCE_S):
                await follower.ended.wait()
            assert follower.replica.frames[-1].data["deleted"] is True


async def test_many_followers_see_the_same() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        async with listening(app.api) as http:

            async def follow(follower: Follower) -> None:
                async with http.stream("GET", f"/v1/chains/{chain['id']}/events") as response:
                    await follower.read(response)

            followers = [Follower() for _ in range(20)]
            tasks = [asyncio.create_task(follow(follower)) for follower in followers]
            for follower in followers:
                await follower.until_at(chain["version"])
            version = await rename(app, chain["id"], "for all")
            for follower in followers:
                await follower.until_at(version)
            await app.http.delete(f"/v1/chains/{chain['id']}")
            await asyncio.gather(*tasks)
        assert {tuple(follower.replica.names) for follower in followers} == {("snapshot", "chain", "chain")}
