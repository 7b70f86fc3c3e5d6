"""The audio of a line, bare samples and outlines of nodes, as a page that plays and draws them fetches them."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import soundfile as sf

from deployments.audio.peaks import peaks_of
from deployments.audio.samples import Samples, SoundFormat
from deployments.audio.wav import HEADER_BYTES, decode_wav
from deployments.engines.music.mock import MockEngine
from storage import paths
from storage.stores.memory import MemoryStore
from tests.support.faulty_store import FaultyStore
from tests.support.harness import Running, problem, running, tone, wav

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE_HZ = 8000
FRAME_BYTES = 8


class Line:
    """A committed line of four nodes, and a take that is off it."""

    def __init__(self, app: Running, store: FaultyStore, chain: dict[str, Any], take_id: str) -> None:
        self.app = app
        self.store = store
        self.chain = chain
        self.take_id = take_id
        self.end_id: str = chain["spine"][-1]

    def url(self, node_id: str, file: str) -> str:
        return f"/v1/chains/{self.chain['id']}/nodes/{node_id}/{file}"

    async def samples(self, node_id: str) -> Samples:
        answer = await self.app.http.get(self.url(node_id, "line/audio"), params={"format": "f32"})
        assert answer.status_code == 200, answer.text
        return np.frombuffer(answer.content, "<f4").reshape(-1, 2).T


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line() -> AsyncIterator[Line]:
    store = FaultyStore()
    async with running({"mock": MockEngine()}, store=store) as app:
        chain = await app.upload(wav(tone(2.0, RATE_HZ), RATE_HZ), title="Line")
        parent = chain["root_id"]
        for duration_s in (1.0, 0.5, 1.5):
            made = await app.branch(chain["id"], parent, duration_s=duration_s)
            parent = made["nodes"][0]["id"]
            await app.finished(chain["id"], parent)
            await app.http.post(f"/v1/chains/{chain['id']}/nodes/{parent}/commit")
        made = await app.branch(chain["id"], chain["root_id"], duration_s=0.7, seed=9)
        await app.finished(chain["id"], made["nodes"][0]["id"])
        yield Line(app, store, await app.chain(chain["id"]), made["nodes"][0]["id"])


async def test_a_line_is_what_a_float_export_of_it_has_sample_for_sample(line: Line) -> None:
    answer = await line.app.http.post(
        f"/v1/chains/{line.chain['id']}/export", json={"format": "wav", "bit_depth": 32}
    )
    assert answer.status_code == 200, answer.text
    exported, rate_hz = sf.read(BytesIO(answer.content), dtype="float32", always_2d=True)
    heard = await line.samples(line.end_id)
    assert rate_hz == RATE_HZ
    assert heard.shape == exported.T.shape == (2, 5 * RATE_HZ)
    assert np.abs(heard - exported.T).max() == 0.0
    whole = await line.app.http.get(line.url(line.end_id, "line/audio"))
    own, rate_hz = sf.read(BytesIO(whole.content), dtype="float32", always_2d=True)
    assert (rate_hz, own.tobytes()) == (RATE_HZ, exported.tobytes())


async def test_the_line_to_a_take_that_is_off_the_spine_begins_with_the_root(line: Line) -> None:
    heard = await line.samples(line.take_id)
    assert heard.shape == (2, round(2.7 * RATE_HZ))
    root = await line.samples(line.chain["root_id"])
    before_the_seam = root.shape[1] - round(0.2 * RATE_HZ)
    assert np.array_equal(heard[:, :before_the_seam], root[:, :before_the_seam])
    own = await line.app.http.get(line.url(line.take_id, "audio"))
    assert np.array_equal(heard[:, root.shape[1] :], decode_wav(own.content)[0])


@pytest.mark.parametrize("form", ["wav", "f32"])
async def test_any_range_of_a_line_is_that_part_of_it(line: Line, form: str) -> None:
    url, params = line.url(line.end_id, "line/audio"), {"format": form}
    whole = (await line.app.http.get(url, params=params)).content
    head = await line.app.http.head(url, params=params)
    assert (head.status_code, int(head.headers["content-length"]), head.content) == (200, len(whole), b"")
    assert (head.headers["x-segue-sample-rate"], head.headers["x-segue-channels"]) == ("8000", "2")
    assert head.headers["x-segue-samples"] == str(5 * RATE_HZ)
    luck = np.random.default_rng(3)
    seam = HEADER_BYTES + 2 * RATE_HZ * FRAME_BYTES
    for start, last in [(0, 0), (3, 70), (seam - 3, seam + 1), *luck.integers(0, len(whole), (12, 2))]:
        start, last = sorted((int(start), int(last)))
        asked = {"Range": f"bytes={start}-{last}", "If-Range": head.headers["etag"]}
        part = await line.app.http.get(url, params=params, headers=asked)
        assert (part.status_code, part.content) == (206, whole[start : last + 1])
        assert part.headers["content-range"] == f"bytes {start}-{last}/{len(whole)}"
    again = await line.app.http.get(url, params=params, headers={"If-None-Match": head.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    problem(await line.app.http.get(url, params=params, headers={"Range": f"bytes={len(whole)}-"}), 416)


async def test_every_line_and_form_has_an_etag_of_its_own(line: Line) -> None:
    urls = [line.url(node["id"], "line/audio") for node in line.chain["nodes"]]
    tags = [
        (await line.app.http.head(url, params={"format": form})).headers["etag"]
        for url in urls
        for form in ("wav", "f32")
    ]
    assert len(set(tags)) == len(tags)


async def test_a_range_reads_only_the_nodes_that_sound_in_it(line: Line) -> None:
    url, params = line.url(line.end_id, "line/audio"), {"format": "f32"}
    await line.app.http.get(url, params=params)  # every blob is checked once as a whole
    line.store.read_bytes = 0
    part = await line.app.http.get(url, params=params, headers={"Range": f"bytes=0-{FRAME_BYTES * 100 - 1}"})
    assert part.status_code == 206
    root_bytes = HEADER_BYTES + 2 * RATE_HZ * FRAME_BYTES
    assert 0 < line.store.read_bytes <= root_bytes


async def test_bare_samples_are_the_wavs_of_any_node(line: Line) -> None:
    for node in line.chain["nodes"]:
        stored = (await line.app.http.get(line.url(node["id"], "audio"))).content
        bare = await line.app.http.get(line.url(node["id"], "audio"), params={"format": "f32"})
        assert bare.content == stored[HEADER_BYTES:]
        assert bare.headers["content-type"] == "application/octet-stream"
        assert bare.headers["x-segue-samples"] == str(node["audio"]["samples"])
        assert bare.headers["etag"].strip('"') == f"{node['audio']['sha256']}-f32"
        part = await line.app.http.get(
            line.url(node["id"], "audio"), params={"format": "f32"}, headers={"Range": "bytes=8-23"}
        )
        assert (part.status_code, part.content) == (206, bare.content[8:24])


async def test_peaks_are_there_with_the_node_and_made_anew_where_they_are_lost(line: Line) -> None:
    for node in line.chain["nodes"]:
        key = paths.peaks("local", f"{node['audio']['sha256']}-1")
        assert key in await line.app.keys()
        url = line.url(node["id"], "peaks")
        answer = await line.app.http.get(url)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        samples, rate_hz = decode_wav((await line.app.http.get(line.url(node["id"], "audio"))).content)
        assert answer.content == peaks_of([samples], SoundFormat(rate_hz, 2))
        assert struct.unpack_from("<iIiiIi", answer.content)[:4] == (2, 1, RATE_HZ, 256)
        for damage in (b"", b"\0" * 40, (await line.store.get(key)).data[:-1] + b"\7"):
            await line.store.put(key, damage)
            anew = await line.app.http.get(url)
            assert (anew.content, anew.headers["etag"]) == (answer.content, answer.headers["etag"])
        await line.store.delete(key)
        assert (await line.app.http.get(url, headers={"If-None-Match": "*"})).status_code == 304
        assert key in await line.app.keys()


async def test_what_is_not_ready_has_no_line_no_samples_and_no_outline() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        chain = await app.upload(wav(tone(0.5, RATE_HZ), RATE_HZ))
        node_id = (await app.branch(chain["id"], chain["root_id"]))["nodes"][0]["id"]
        for file in ("line/audio", "audio?format=f32", "peaks"):
            detail = problem(await app.http.get(f"/v1/chains/{chain['id']}/nodes/{node_id}/{file}"), 409)
            assert detail["detail"] == f"node {node_id} is pending: it has no audio"
            problem(await app.http.get(f"/v1/chains/{chain['id']}/nodes/none/{file}"), 404)
            problem(await app.http.get(f"/v1/chains/none/nodes/{node_id}/{file}"), 404)


async def test_damaged_audio_is_no_line_and_no_outline() -> None:
    store = MemoryStore()
    async with running({"mock": MockEngine()}, store=store) as app:
        chain = await app.upload(wav(tone(0.5, RATE_HZ), RATE_HZ))
        node = chain["nodes"][0]
        ref = (await app.services.chains.read("local", chain["id"])).nodes[0].audio
        assert ref is not None
        key = paths.blob("local", ref.blob.name)
        await store.put(key, (await store.get(key)).data[:-4] + b"\0\0\0\7")
        await store.delete(paths.peaks("local", f"{node['audio']['sha256']}-1"))
        for file in ("line/audio", "audio?format=f32", "peaks"):
            problem(await app.http.get(f"/v1/chains/{chain['id']}/nodes/{node['id']}/{file}"), 500)
        assert not [key for key in await app.keys() if "/peaks/" in key]
