"""Audio that plays while it is being made: to the byte what the node will be, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from deployments.audio.wav import HEADER_BYTES, decode_wav
from deployments.engines.music.mock import MockEngine
from storage.stores.memory import MemoryStore
from tests.deployments.worker.wire import Wire
from tests.support.clips import music
from tests.support.faulty_store import FaultyStore, Outage
from tests.support.harness import Running, listening, problem, running, wav
from tests.support.patience import PATIENCE_S, until
from tests.support.scripted_engine import ScriptedEngine


class Ear:
    """A client that listens in the background."""

    def __init__(self) -> None:
        self.heard = b""
        self.headers = httpx.Headers()
        self.status = 0
        self.broke_off = False
        self.task: asyncio.Task[None] | None = None

    async def listen(self, http: httpx.AsyncClient, job_id: str, **options: Any) -> None:
        try:
            async with http.stream(
                "GET", f"/v1/jobs/{job_id}/audio", timeout=PATIENCE_S, **options
            ) as answer:
                self.status, self.headers = answer.status_code, answer.headers
                async for data in answer.aiter_raw():
                    self.heard += data
        except httpx.RemoteProtocolError:
            self.broke_off = True

    async def until_heard(self, size_bytes: int) -> None:
        await until(lambda: len(self.heard) >= size_bytes)

    async def to_the_end(self) -> bytes:
        assert self.task is not None
        async with asyncio.timeout(PATIENCE_S):
            await self.task
        return self.heard


@asynccontextmanager
async def listener(app: Running, job_id: str, **options: Any) -> AsyncIterator[Ear]:
    """Somebody who listens from now on, through a socket of their own."""
    async with listening(app.api) as http:
        ear = Ear()
        ear.task = asyncio.create_task(ear.listen(http, job_id, **options))
        try:
            yield ear
        finally:
            ear.task.cancel()
            await asyncio.gather(ear.task, return_exceptions=True)


async def take(app: Running, duration_s: float = 2.0, **clip: Any) -> tuple[str, str, str]:
    """(chain, node, job) of a take in a chain of 44.1 kHz stereo."""
    chain = await app.upload(wav(music(1.0, 44_100, 2)))
    made = await app.branch(chain["id"], chain["root_id"], duration_s=duration_s, **clip)
    return chain["id"], made["nodes"][0]["id"], made["job_id"]


async def node_wav(app: Running, chain_id: str, node_id: str) -> bytes:
    assert (await app.finished(chain_id, node_id))["status"] == "ready"
    answer = await app.http.get(f"/v1/chains/{chain_id}/nodes/{node_id}/audio")
    assert answer.status_code == 200, answer.text
    return answer.content


async def segments_in(app: Running) -> list[str]:
    return sorted(key for key in await app.keys() if "/segments/" in key)


async def until_none_is_left(app: Running) -> None:
    """Waits until a take's segments have been taken away."""

    async def is_empty() -> bool:
        return await segments_in(app) == []

    await until(is_empty)


async def test_the_first_sound_comes_while_the_take_is_being_made() -> None:
    engine = ScriptedEngine(allowed=2)
    async with running({"mock": engine}) as app:
        chain_id, node_id, job_id = await take(app)
        async with listener(app, job_id) as ear:
            await ear.until_heard(HEADER_BYTES + 1)
            job = await app.job(job_id)
            assert (job["state"], engine.given) == ("running", 2)
            assert (await app.node(chain_id, node_id))["audio"] is None
            engine.allow()
            heard = await ear.to_the_end()
        assert heard == await node_wav(app, chain_id, node_id)
        assert (ear.status, ear.broke_off) == (200, False)
        assert ear.headers["content-type"] == "audio/wav"
        assert ear.headers["content-length"] == str(len(heard))
        assert (ear.headers["x-segue-sample-rate"], ear.headers["x-segue-channels"]) == ("44100", "2")
        samples, rate_hz = decode_wav(heard)
        assert (samples.shape, rate_hz) == ((2, 88_200), 44_100)
        await until_none_is_left(app)


async def test_notices_alone_are_enough() -> None:
    """Nobody waits for a poll while the hub is there."""
    engine = ScriptedEngine(allowed=1)
    async with running({"mock": engine}, overrides={"events": {"poll_s": 600}}, work=False) as app:
        chain_id, node_id, job_id = await take(app)
        async with listener(app, job_id) as ear:
            await until(lambda: bool(app.services.listener._subscriptions))
            app.worker.start()
            await ear.until_heard(HEADER_BYTES + 1)
            engine.allow()
            heard = await ear.to_the_end()
        assert heard == await node_wav(app, chain_id, node_id)


async def test_who_comes_late_hears_it_from_the_beginning() -> None:
    engine = ScriptedEngine(allowed=5)
    async with running({"mock": engine}) as app:
        chain_id, node_id, job_id = await take(app)
        await until(lambda: engine.given == 5)
        async with listener(app, job_id) as first, listener(app, job_id) as second:
            for ear in (first, second):
                await ear.until_heard(HEADER_BYTES + 44_100 * 8 // 2)
            engine.allow()
            heard = [await ear.to_the_end() for ear in (first, second)]
        assert heard == [await node_wav(app, chain_id, node_id)] * 2


async def test_who_comes_before_it_begins_waits_for_it() -> None:
    async with running({"mock": MockEngine(step_delay_s=0.02)}, work=False) as app:
        chain_id, node_id, job_id = await take(app)
        async with listener(app, job_id) as ear:
            await asyncio.sleep(0.3)  # longer than a poll
            assert (ear.status, ear.heard) == (0, b"")
            app.worker.start()
            heard = await ear.to_the_end()
        assert heard == await node_wav(app, chain_id, node_id)


async def test_a_generated_root_is_heard_in_the_models_own_format() -> None:
    engine = ScriptedEngine(allowed=2)
    async with running({"mock": engine}) as app:
        answer = await app.http.post("/v1/chains", json={"prompt": "drone", "duration_s": 1.0})
        chain = answer.json()
        async with listener(app, chain["nodes"][0]["job_id"]) as ear:
            await ear.until_heard(HEADER_BYTES + 1)
            engine.allow()
            heard = await ear.to_the_end()
        assert heard == await node_wav(app, chain["id"], chain["root_id"])
        assert soundfile.info(io.BytesIO(heard)).samplerate == 32_000


@pytest.mark.parametrize("asked", ["query", "accept"])
async def test_the_bare_samples_in_16_bits(asked: str) -> None:
    engine = ScriptedEngine(allowed=3)
    options: dict[str, Any] = (
        {"params": {"format": "l16"}} if asked == "query" else {"headers": {"Accept": "audio/L16, */*;q=0.1"}}
    )
    async with running({"mock": engine}) as app:
        chain_id, node_id, job_id = await take(app)
        async with listener(app, job_id, **options) as ear:
            await ear.until_heard(1)
            engine.allow()
            heard = await ear.to_the_end()
        node, _ = decode_wav(await node_wav(app, chain_id, node_id))
        assert ear.headers["content-type"] == "audio/L16;rate=44100;channels=2"
        assert ear.headers["content-length"] == str(len(heard)) == str(88_200 * 2 * 2)
        assert np.array_equal(np.frombuffer(heard, ">i2").reshape(-1, 2).T, np.rint(node * 32_768))
        again = await app.http.get(f"/v1/jobs/{job_id}/audio", **options)
        assert again.content == heard


async def test_the_bare_samples_as_they_are() -> None:
    engine = ScriptedEngine(allowed=3)
    async with running({"mock": engine}) as app:
        chain_id, node_id, job_id = await take(app)
        async with listener(app, job_id, params={"format": "f32"}) as ear:
            await ear.until_heard(1)
            engine.allow()
            heard = await ear.to_the_end()
        assert heard == (await node_wav(app, chain_id, node_id))[HEADER_BYTES:]
        assert ear.headers["x-segue-samples"] == "88200"
        assert (await app.http.get(f"/v1/jobs/{job_id}/audio?format=f32")).content == heard


async def test_once_the_node_is_ready_it_is_the_nodes_file() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain_id, node_id, job_id = await take(app)
        whole = await node_wav(app, chain_id, node_id)
        url = f"/v1/jobs/{job_id}/audio"
        answer = await app.http.get(url)
        assert answer.content == whole
        etag = answer.headers["etag"]
        part = await app.http.get(url, headers={"Range": "bytes=100-299"})
        assert (part.status_code, part.content) == (206, whole[100:300])
        assert (await app.http.get(url, headers={"If-None-Match": etag})).status_code == 304
        head = await app.http.head(url)
        assert (head.headers["content-length"], head.content) == (str(len(whole)), b"")


async def test_players_may_ask_for_ranges_of_what_is_not_there_yet() -> None:
    """Some ask for the first two bytes before they play; and who was cut off goes on where they were."""
    engine = ScriptedEngine(allowed=3)
    async with running({"mock": engine}) as app:
        chain_id, node_id, job_id = await take(app)
        url = f"/v1/jobs/{job_id}/audio"
        begin = await app.http.get(url, headers={"Range": "bytes=0-1"})
        assert (begin.status_code, begin.content) == (206, b"RI")
        size = int(begin.headers["content-range"].partition("/")[2])
        assert begin.headers["content-range"] == f"bytes 0-1/{size}"
        part = await app.http.get(url, headers={"Range": "bytes=40-60000"})
        problem(await app.http.get(url, headers={"Range": f"bytes={size}-"}), 416)
        async with listener(app, job_id, headers={"Range": "bytes=60001-"}) as ear:
            await ear.until_heard(1)
            engine.allow()
            rest = await ear.to_the_end()
        whole = await node_wav(app, chain_id, node_id)
        assert len(whole) == size
        assert part.content + rest == whole[40:]
        assert (ear.status, ear.headers["content-length"]) == (206, str(size - 60_001))


async def test_a_range_under_a_condition_that_nobody_can_judge_yet_is_all_of_it() -> None:
    engine = ScriptedEngine(allowed=3)
    async with running({"mock": engine}) as app:
        chain_id, node_id, job_id = await take(app)
        headers = {"Range": "bytes=100-", "If-Range": '"somewhat"'}
        async with listener(app, job_id, headers=headers) as ear:
            await ear.until_heard(1)
            engine.allow()
            heard = await ear.to_the_end()
        assert (ear.status, heard) == (200, await node_wav(app, chain_id, node_id))


async def test_head_does_not_wait() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        _, _, job_id = await take(app)
        head = await app.http.head(f"/v1/jobs/{job_id}/audio")
        assert (head.status_code, head.headers["content-type"]) == (200, "audio/wav")


async def test_a_take_that_is_cancelled_midway_breaks_off_short_of_its_length() -> None:
    engine = ScriptedEngine(allowed=3)
    async with running({"mock": engine}) as app:
        _, _, job_id = await take(app)
        async with listener(app, job_id) as ear:
            await ear.until_heard(HEADER_BYTES + 1)
            await app.http.delete(f"/v1/jobs/{job_id}")
            heard = await ear.to_the_end()
        assert ear.broke_off
        assert HEADER_BYTES < len(heard) < int(ear.headers["content-length"])
        await until_none_is_left(app)
        body = problem(await app.http.get(f"/v1/jobs/{job_id}/audio"), 409)
        assert body["type"].endswith("job-cancelled")


async def test_who_waits_for_a_take_that_is_cancelled_is_told() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        _, _, job_id = await take(app)
        async with listening(app.api) as http:
            asking = asyncio.create_task(http.get(f"/v1/jobs/{job_id}/audio", timeout=PATIENCE_S))
            await asyncio.sleep(0.1)
            assert not asking.done()
            await app.http.delete(f"/v1/jobs/{job_id}")
            body = problem(await asking, 409)
        assert body["type"].endswith("job-cancelled")
        assert body["job_id"] == job_id


async def test_who_waits_for_a_take_that_fails_is_told_why() -> None:
    engine = ScriptedEngine(fails_after=0)
    async with running({"mock": engine}, overrides={"jobs": {"max_attempts": 1}}) as app:
        _, _, job_id = await take(app)
        async with listening(app.api) as http:
            body = problem(await http.get(f"/v1/jobs/{job_id}/audio", timeout=PATIENCE_S), 409)
        assert body["type"].endswith("job-failed")
        assert "out of memory" in body["detail"]


async def test_a_take_that_is_tried_again_goes_on_at_the_same_sample() -> None:
    engine = ScriptedEngine(allowed=3, fails_after=4)
    async with running({"mock": engine}) as app:
        chain_id, node_id, job_id = await take(app)
        async with listener(app, job_id) as ear:
            # Heard first: what a failed attempt has made is taken away at once.
            await ear.until_heard(HEADER_BYTES + 1)
            engine.allow(1)
            await until(lambda: engine.failures == 1)
            engine._fails_after = None
            engine.allow()
            heard = await ear.to_the_end()
        assert (await app.ended(job_id))["attempt"] == 2
        assert heard == await node_wav(app, chain_id, node_id)


async def test_jobs_that_make_no_take_have_nothing_to_listen_to() -> None:
    async with running({"mock": MockEngine()}) as app:
        problem(await app.http.get("/v1/jobs/nothing/audio"), 404)
        chain = await app.generated()
        exported = await app.http.post(
            f"/v1/chains/{chain['id']}/export", json={"format": "wav"}, headers={"Prefer": "respond-async"}
        )
        body = problem(await app.http.get(f"/v1/jobs/{exported.json()['job_id']}/audio"), 404)
        assert "makes no take" in body["detail"]
        problem(await app.http.get("/v1/jobs/nothing/audio?format=mp3"), 422)


async def test_a_take_of_a_chain_that_was_deleted_is_gone() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain_id, node_id, job_id = await take(app)
        await app.finished(chain_id, node_id)
        await app.ended(job_id)
        await app.http.delete(f"/v1/chains/{chain_id}")
        problem(await app.http.get(f"/v1/jobs/{job_id}/audio"), 404)


async def test_nobody_waits_for_longer_than_a_stream_may_live() -> None:
    overrides = {"events": {"max_stream_s": 0.3, "poll_s": 0.1}}
    async with running({"mock": MockEngine()}, work=False, overrides=overrides) as app:
        _, _, job_id = await take(app)
        answer = await app.http.get(f"/v1/jobs/{job_id}/audio")
        assert "queued" in problem(answer, 503)["detail"]
        assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("segments", [0, 3])
async def test_who_hangs_up_leaves_nothing_behind(segments: int) -> None:
    engine = ScriptedEngine(allowed=segments)
    async with running({"mock": engine}) as app:
        chain_id, node_id, job_id = await take(app)
        async with listener(app, job_id) as ear:
            if segments:
                await ear.until_heard(HEADER_BYTES + 1)
            await until(lambda: bool(app.services.listener._subscriptions))
            assert ear.task is not None
            ear.task.cancel()
            await until(lambda: not app.services.listener._subscriptions)
        engine.allow()
        await node_wav(app, chain_id, node_id)


@pytest.mark.parametrize("refuses", [None, 3])
async def test_a_store_that_takes_no_segments_harms_no_take(refuses: int | None) -> None:
    """Who listens hears it all the same: later, from the node."""
    store = FaultyStore(Outage(within="/segments/", times=refuses))
    async with running({"mock": MockEngine(step_delay_s=0.01)}, store=store) as app:
        chain_id, node_id, job_id = await take(app)
        async with listener(app, job_id) as ear:
            heard = await ear.to_the_end()
        assert heard == await node_wav(app, chain_id, node_id)
        assert (await app.ended(job_id))["attempt"] == 1
        assert store.count("put", "/segments/")


@asynccontextmanager
async def _two_processes(
    first: ScriptedEngine, second: ScriptedEngine
) -> AsyncIterator[tuple[Running, Running, Callable[[], None]]]:
    """A process that works and one that does not yet, with a store between them; and what kills the first one,
    so that the second one takes its work over. No notice passes from one to the other."""
    store = MemoryStore()
    wire = Wire(store)
    async with (
        running({"mock": second}, store=store, work=False) as heir,
        running({"mock": first}, overrides={"jobs": {"lease_s": 1.5}}, store=wire) as mourned,
    ):

        def kill() -> None:
            wire.cut()
            heir.worker.start()

        yield mourned, heir, kill


async def test_after_a_takeover_it_goes_on_at_the_same_sample() -> None:
    first, second = ScriptedEngine(allowed=4), ScriptedEngine(allowed=2)
    async with _two_processes(first, second) as (mourned, heir, kill):
        chain_id, node_id, job_id = await take(mourned)
        async with listener(heir, job_id) as ear:
            await ear.until_heard(HEADER_BYTES + 44_100 * 8 // 4)
            kill()
            await until(lambda: second.given == 2)
            assert (await heir.job(job_id))["state"] == "running"
            second.allow()
            heard = await ear.to_the_end()
        assert (await heir.ended(job_id))["attempt"] == 2
        assert heard == await node_wav(heir, chain_id, node_id)


async def test_after_a_takeover_by_an_engine_that_makes_another_sound_it_breaks_off() -> None:
    first, second = [
        ScriptedEngine(level=level, facts={"reproducible": False}, allowed=4) for level in (1.0, 0.5)
    ]
    async with _two_processes(first, second) as (mourned, heir, kill):
        chain_id, node_id, job_id = await take(mourned)
        async with listener(heir, job_id) as ear:
            await ear.until_heard(HEADER_BYTES + 44_100 * 8 // 4)
            kill()
            heard = await ear.to_the_end()
            assert ear.broke_off
            assert (await heir.job(job_id))["state"] == "running"
            second.allow()
        whole = await node_wav(heir, chain_id, node_id)
        assert len(heard) < len(whole)
        assert (await heir.http.get(f"/v1/jobs/{job_id}/audio")).content == whole
