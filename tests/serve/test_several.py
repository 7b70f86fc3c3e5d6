"""Two ingress replicas and two runners over one bucket: whichever answers, it is one Segue."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import soundfile

from segue_client.events import EventDecoder
from serve_app.http.replica import REPLICA_HEADER
from tests.serve.server import Server, deployment_options, local_deploy_file, only_generate
from tests.storage.stores.s3_servers import BUCKET, S3Server, s3_server
from tests.support.clips import encoded, music

__all__ = ["s3_server"]

pytestmark = [pytest.mark.serve, pytest.mark.torch, pytest.mark.timeout(600)]

RATE_HZ = 44_100
FINISH_TIMEOUT_S = 240.0
TRIES = 200

Record = dict[str, Any]
Events = AsyncIterator[tuple[str, Record, str | None]]
"""(event, data, the id to resume after)."""


@pytest.fixture(scope="module")
def server(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    deploy_file = local_deploy_file()
    only_generate(deploy_file)
    for deployment in ("Ingress", "JobRunner"):
        deployment_options(deploy_file, deployment)["num_replicas"] = 2
    running = Server(
        tmp_path_factory.mktemp("several"),
        deploy_file=deploy_file,
        **s3_server.environment(),
        SEGUE_STORAGE=f"s3://{BUCKET}/several/{secrets.token_hex(8)}",
        SEGUE_STORAGE__ENDPOINT_URL=s3_server.endpoint_url,
    )
    try:
        running.start()
        running.wait_until(lambda: len(running.replicas("Ingress")) == 2, 60, "both ingresses are there")
        yield running
    finally:
        running.stop()


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits, trust_env=False) as client:
        seen = set()
        for _ in range(TRIES):  # until the proxy knows both
            seen.add(replica(await client.get("/livez")))
            if len(seen) == 2:
                break
        assert len(seen) == 2
        yield client


@pytest.fixture
async def chain(http: httpx.AsyncClient) -> Record:
    return await upload(http)


def replica(answer: httpx.Response) -> str:
    return answer.headers[REPLICA_HEADER]


def body(answer: httpx.Response, status: int) -> Record:
    assert answer.status_code == status, answer.text
    found: Record = answer.json()
    return found


async def upload(http: httpx.AsyncClient) -> Record:
    clip = encoded(music(), RATE_HZ, "wav")
    return body(await http.post("/v1/chains", files={"file": ("clip.wav", clip)}), 201)


async def branch(
    http: httpx.AsyncClient, chain: Record, *, key: str | None = None, **wanted: Any
) -> httpx.Response:
    return await http.post(
        f"/v1/chains/{chain['id']}/nodes",
        json={"parent_id": chain["root_id"], "duration_s": 0.5, **wanted},
        headers={} if key is None else {"Idempotency-Key": key},
    )


async def read(http: httpx.AsyncClient, chain: Record) -> Record:
    return body(await http.get(f"/v1/chains/{chain['id']}"), 200)


async def all_ready(http: httpx.AsyncClient, chain: Record) -> Record:
    """The chain once every node of it is ready."""
    async with asyncio.timeout(FINISH_TIMEOUT_S):
        while True:
            now = await read(http, chain)
            states = {node["status"] for node in now["nodes"]}
            if states == {"ready"}:
                return now
            assert not states & {"failed", "cancelled"}, now
            await asyncio.sleep(0.2)


@asynccontextmanager
async def events(
    http: httpx.AsyncClient, chain: Record, since: str | None = None, *, not_from: str | None = None
) -> AsyncIterator[tuple[str, Events]]:
    """A chain's stream from any replica but `not_from`, with the one that answers."""
    for _ in range(TRIES):
        headers = {} if since is None else {"Last-Event-ID": since}
        async with http.stream("GET", f"/v1/chains/{chain['id']}/events", headers=headers) as answer:
            assert answer.status_code == 200
            if replica(answer) == not_from:
                continue
            yield replica(answer), decoded(answer, since)
            return
    raise AssertionError(f"no replica but {not_from} answered {TRIES} times")


async def decoded(answer: httpx.Response, since: str | None) -> Events:
    decoder = EventDecoder(since)
    async for chunk in answer.aiter_raw():
        for event in decoder.feed(chunk):
            yield event.event, json.loads(event.data), decoder.last_id


async def test_the_whole_journey(http: httpx.AsyncClient, chain: Record) -> None:
    chain_id, root_id = chain["id"], chain["root_id"]
    branched = body(await branch(http, chain, prompt="strings", duration_s=2.0, takes=2, seed=7), 202)
    one, other = (node["id"] for node in branched["nodes"])
    waiting = {one, other}
    async with asyncio.timeout(FINISH_TIMEOUT_S), events(http, chain) as (_, stream):
        async for event, data, _ in stream:
            told = data["nodes"] if event == "snapshot" else [data] if event == "node" else []
            waiting -= {node["id"] for node in told if node["status"] == "ready"}
            if not waiting:
                break
    committed = body(await http.post(f"/v1/chains/{chain_id}/nodes/{one}/commit"), 200)
    assert committed["spine"] == [root_id, one]
    discarded = body(await http.post(f"/v1/chains/{chain_id}/nodes/{other}/discard"), 200)
    assert {node["id"]: node["decision"] for node in discarded["nodes"]}[other] == "discarded"

    exported = await http.post(f"/v1/chains/{chain_id}/export", json={"format": "wav"})
    assert exported.status_code == 200, exported.text
    line, rate_hz = soundfile.read(io.BytesIO(exported.content), always_2d=True)
    assert (len(line), rate_hz) == (5 * RATE_HZ, RATE_HZ)
    downloads = [await http.get(exported.headers["content-location"]) for _ in range(8)]
    assert {(answer.status_code, answer.content) for answer in downloads} == {(200, exported.content)}
    audio = f"/v1/chains/{chain_id}/nodes/{one}/audio"
    part = await http.get(audio, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"RIFF")
    # Both replicas have been asked for everything there is to see, and say the same.
    seen = [await http.get(f"/v1/chains/{chain_id}") for _ in range(20)]
    assert len({replica(answer) for answer in seen}) == 2
    assert len({answer.text for answer in seen}) == 1


async def test_a_stream_goes_on_at_the_other_ingress(http: httpx.AsyncClient, chain: Record) -> None:
    upserts: Counter[tuple[str, str, str]] = Counter()
    copy: dict[str, Record] = {}
    versions: list[int] = []

    async def follow(stream: Events, until: Callable[[Record], bool]) -> str | None:
        """Until the end of a change that is the one; gives what to resume from."""
        async for event, data, last_id in stream:
            if event == "snapshot":
                copy.update({node["id"]: node for node in data["nodes"]})
            elif event == "node":
                upserts[data["id"], data["status"], data["decision"]] += 1
                copy[data["id"]] = data
            elif event == "chain":
                versions.append(data["version"])
                if until(data):
                    return last_id
        raise AssertionError("the stream ended")

    async with asyncio.timeout(FINISH_TIMEOUT_S):
        async with events(http, chain) as (first, stream):
            branched = body(await branch(http, chain, duration_s=2.0, takes=4), 202)
            nodes = {node["id"] for node in branched["nodes"]}
            resume = await follow(stream, lambda _: bool(upserts))
        await all_ready(http, chain)  # much happens while nobody listens
        kept = body(await http.post(f"/v1/chains/{chain['id']}/nodes/{min(nodes)}/commit"), 200)
        async with events(http, chain, resume, not_from=first) as (second, stream):
            await follow(stream, lambda data: data["version"] == kept["version"])
    assert first != second
    assert versions == sorted(set(versions))
    assert max(upserts.values()) == 1, upserts
    now = await read(http, chain)
    assert copy == {node["id"]: node for node in now["nodes"]}
    assert {key[0] for key in upserts if key[1] == "ready"} == nodes


async def test_a_key_sent_to_both_ingresses_at_once_is_one_request(
    http: httpx.AsyncClient, chain: Record
) -> None:
    both = 0
    expected: dict[str, Record] = {}
    for number in range(16):
        key = f"{secrets.token_hex(4)}-{number}"
        answers = await asyncio.gather(*(branch(http, chain, key=key, takes=2) for _ in range(4)))
        bodies = [body(answer, 202) for answer in answers]
        both += len({replica(answer) for answer in answers}) == 2
        shown = [[(node["id"], node["seed"], node["job_id"]) for node in found["nodes"]] for found in bodies]
        assert shown == [shown[0]] * 4
        assert [found["job_ids"] for found in bodies] == [bodies[0]["job_ids"]] * 4
        expected.update({node["id"]: node for node in bodies[0]["nodes"]})
    assert both > 8  # or nothing was shown
    kept = await all_ready(http, chain)
    assert Counter(node["id"] for node in kept["nodes"]) == Counter([chain["root_id"], *expected])


async def test_a_chain_made_at_both_ingresses_at_once_is_one_chain(http: httpx.AsyncClient) -> None:
    clip = encoded(music(0.5), RATE_HZ, "wav")
    for number in range(6):
        key = {"Idempotency-Key": f"{secrets.token_hex(4)}-{number}"}
        uploads = [http.post("/v1/chains", files={"file": ("clip.wav", clip)}, headers=key) for _ in range(4)]
        chains = [body(answer, 201) for answer in await asyncio.gather(*uploads)]
        assert chains == [chains[0]] * 4


async def test_of_two_commits_at_once_the_later_one_stands(http: httpx.AsyncClient, chain: Record) -> None:
    branched = body(await branch(http, chain, takes=2), 202)
    siblings = [node["id"] for node in branched["nodes"]]
    await all_ready(http, chain)
    replicas: Counter[frozenset[str]] = Counter()
    for _ in range(12):
        url = f"/v1/chains/{chain['id']}/nodes"
        answers = await asyncio.gather(*(http.post(f"{url}/{sibling}/commit") for sibling in siblings))
        replicas[frozenset(map(replica, answers))] += 1
        after = [body(answer, 200) for answer in answers]
        for sibling, found in zip(siblings, after, strict=True):
            assert found["spine"] == [chain["root_id"], sibling]
        now = await read(http, chain)
        decisions = {node["id"]: node["decision"] for node in now["nodes"]}
        assert sorted(decisions[sibling] for sibling in siblings) == ["candidate", "committed"]
        last = max(after, key=lambda found: found["version"])
        assert (now["version"], now["spine"]) == (last["version"], last["spine"])
    assert any(len(pair) == 2 for pair in replicas)


async def test_many_branches_at_once_lose_no_node(http: httpx.AsyncClient, chain: Record) -> None:
    answers = await asyncio.gather(*(branch(http, chain, takes=2) for _ in range(24)))
    assert len({replica(answer) for answer in answers}) == 2
    wanted = [node["id"] for answer in answers for node in body(answer, 202)["nodes"]]
    assert len(set(wanted)) == 48
    kept = await all_ready(http, chain)
    assert Counter(node["id"] for node in kept["nodes"]) == Counter([chain["root_id"], *wanted])
    jobs = [body(await http.get(f"/v1/jobs/{node['job_id']}"), 200) for node in kept["nodes"][1:]]
    assert {job["state"] for job in jobs} == {"succeeded"}


async def test_the_load_of_both_ingresses_is_one_sum(http: httpx.AsyncClient, chain: Record) -> None:
    async with AsyncExitStack() as stack:
        first, _ = await stack.enter_async_context(events(http, chain))
        for not_from in (None, first, None):
            await stack.enter_async_context(events(http, chain, not_from=not_from))
        async with asyncio.timeout(FINISH_TIMEOUT_S):
            while True:
                now = body(await http.get("/v1/gpu"), 200)
                ingress, runner = (now["deployments"][name] for name in ("Ingress", "JobRunner"))
                # Four streams, and the one who asks; the clip's own analysis may be under way.
                if ingress["ongoing"] == 5 and now["jobs"]["unfinished"] == 0:
                    break
                await asyncio.sleep(0.2)
    assert ingress["replicas"] == runner["replicas"] == {"RUNNING": 2}
    assert (runner["ongoing"], runner["queued"]) == (0, 0)
    assert now["jobs"] == {"unfinished": 0, "waiting": 0}
