"""Crops and marks over HTTP: a crop sounds as the part that it is, wherever it is read."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from deployments.audio.peaks import peaks_of
from deployments.audio.samples import SoundFormat
from deployments.audio.seam.line import Piece, render_line
from deployments.audio.wav import HEADER_BYTES, decode_wav, encode_wav
from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from tests.support.harness import Running, problem, running, wav

RATE_HZ = 44_100
NOISE = np.random.default_rng(5).uniform(-0.4, 0.4, (2, 2 * RATE_HZ)).astype(np.float32)
"""Two seconds of which no two stretches are alike."""


async def crop(app: Running, chain_id: str, node_id: str, **body: Any) -> httpx.Response:
    return await app.http.post(f"/v1/chains/{chain_id}/nodes/{node_id}/crop", json=body)


async def cropped(app: Running, chain_id: str, node_id: str, from_s: float, to_s: float) -> dict[str, Any]:
    answer = await crop(app, chain_id, node_id, from_s=from_s, to_s=to_s)
    assert answer.status_code == 201, answer.text
    node: dict[str, Any] = answer.json()["node"]
    return node


async def audio_of(app: Running, node: dict[str, Any], **params: str) -> httpx.Response:
    answer = await app.http.get(node["audio"]["url"], params=params)
    assert answer.status_code == 200, answer.text
    return answer


async def test_a_crop_is_a_part_of_its_node_and_copies_nothing() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.upload(wav(NOISE))
        blobs = {key for key in await app.keys() if "/blobs/" in key}
        node = await cropped(app, chain["id"], chain["root_id"], 0.5, 1.25)
        assert {key for key in await app.keys() if "/blobs/" in key} == blobs
        assert (node["origin"], node["decision"], node["parent_id"]) == ("crop", "candidate", None)
        assert node["cropped_from"] == {"node_id": chain["root_id"], "from_s": 0.5, "to_s": 1.25}
        part = NOISE[:, RATE_HZ // 2 : round(1.25 * RATE_HZ)]
        expected = encode_wav(part, RATE_HZ)
        answer = await audio_of(app, node)
        assert answer.content == expected
        assert node["audio"]["sha256"] == hashlib.sha256(expected).hexdigest()
        assert answer.headers["etag"] == f'"{node["audio"]["sha256"]}"'
        assert node["audio"]["samples"] == part.shape[1] == round(node["duration_s"] * RATE_HZ)
        assert node["audio"]["peak_dbfs"] == pytest.approx(20 * np.log10(np.abs(part).max()), abs=1e-6)
        # Any range of it, over the header's end too.
        for first, last in ((0, 9), (40, 99), (58, 58), (len(expected) - 5, len(expected) + 5)):
            ranged = await app.http.get(node["audio"]["url"], headers={"Range": f"bytes={first}-{last}"})
            assert ranged.status_code == 206
            assert ranged.content == expected[first : last + 1]
        bare = await audio_of(app, node, format="f32")
        assert bare.content == expected[HEADER_BYTES:]
        peaks = (await app.http.get(f"/v1/chains/{chain['id']}/nodes/{node['id']}/peaks")).content
        assert peaks == peaks_of([part], SoundFormat(RATE_HZ, 2))
        flac = await audio_of(app, node, format="flac")
        assert flac.content[:4] == b"fLaC"
        # A crop of a crop names the first blob still.
        inner = await cropped(app, chain["id"], node["id"], 0.25, 0.5)
        assert (await audio_of(app, inner)).content == encode_wav(
            part[:, RATE_HZ // 4 : RATE_HZ // 2], RATE_HZ
        )
        assert inner["cropped_from"]["node_id"] == node["id"]
        provenance = (await app.http.get(f"/v1/chains/{chain['id']}/nodes/{node['id']}/provenance")).json()
        assert provenance["audio_sha256"] == node["audio"]["sha256"]
        assert provenance["crop"]["audio_sha256"] == chain["nodes"][0]["audio"]["sha256"]
        assert provenance["original_sha256"]
        assert problem(await app.http.get(f"/v1/chains/{chain['id']}/nodes/{node['id']}/original"), 409)


async def test_the_line_goes_on_from_a_crop_as_from_any_node() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.upload(wav(NOISE))
        root = chain["root_id"]
        branched = await app.branch(chain["id"], root, duration_s=0.5, at_s=0.75, takes=2)
        head = branched["crop"]
        assert {node["parent_id"] for node in branched["nodes"]} == {head["id"]}
        assert head["cropped_from"] == {"node_id": root, "from_s": 0.0, "to_s": 0.75}
        take = await app.finished(chain["id"], branched["nodes"][0]["id"])
        assert take["status"] == "ready"
        provenance = (await app.http.get(f"/v1/chains/{chain['id']}/nodes/{take['id']}/provenance")).json()
        assert provenance["parent_audio_sha256"] == head["audio"]["sha256"]
        heard = NOISE[:, : round(0.75 * RATE_HZ)]
        assert provenance["context_sha256"] == hashlib.sha256(heard.tobytes()).hexdigest()
        # Another request for the same second finds the crop; the node's end is the node itself.
        again = await app.branch(chain["id"], root, duration_s=0.5, at_s=0.75)
        assert again["crop"]["id"] == head["id"]
        whole = await app.branch(chain["id"], root, duration_s=0.5, at_s=2.0)
        assert (whole["crop"], whole["nodes"][0]["parent_id"]) == (None, root)
        # A crop of the root takes its place at the beginning of the spine.
        url = f"/v1/chains/{chain['id']}"
        assert (await app.http.post(f"{url}/nodes/{head['id']}/commit")).json()["spine"] == [head["id"]]
        assert (await app.http.post(f"{url}/nodes/{take['id']}/commit")).json()["spine"] == [
            head["id"],
            take["id"],
        ]
        problem(await app.http.post(f"{url}/nodes/{head['id']}/uncommit"), 409)
        part = await cropped(app, chain["id"], take["id"], 0.2, 0.5)
        assert (await app.http.post(f"{url}/nodes/{part['id']}/commit")).json()["spine"] == [
            head["id"],
            part["id"],
        ]
        exported = await app.http.post(f"{url}/export", json={"format": "wav", "bit_depth": 32})
        assert exported.status_code == 200, exported.text
        sounds = [decode_wav((await audio_of(app, node)).content)[0] for node in (head, part)]
        # It begins within the take, where the codec's rendering of what came before the take has no place.
        line = render_line([Piece(sounds[0]), Piece(sounds[1])], RATE_HZ)
        data, _ = soundfile.read(io.BytesIO(exported.content), dtype="float32", always_2d=True)
        assert np.array_equal(data.T, line)
        heard = (await app.http.get(f"{url}/nodes/{part['id']}/line/audio", params={"format": "f32"})).content
        assert np.array_equal(np.frombuffer(heard, "<f4").reshape(-1, 2).T, line)
        spine = (await app.http.get(f"{url}/spine")).json()
        assert [node["offset_s"] for node in spine["nodes"]] == [0.0, 0.75]


async def test_what_is_derived_from_a_crop_is_of_its_part_alone() -> None:
    async with running(
        {"mock": MockEngine()}, separators={"mock": MockSeparator()}, analyser=MockAnalyser()
    ) as app:
        chain = await app.upload(wav(NOISE))
        node = await cropped(app, chain["id"], chain["root_id"], 1.0, 1.5)
        url = f"/v1/chains/{chain['id']}/nodes/{node['id']}"
        for what in ("stems", "analysis"):
            job = (await app.http.post(f"{url}/{what}")).json()
            assert (await app.ended(job["job_id"]))["state"] == "succeeded"
        [separation] = (await app.http.get(f"{url}/stems")).json()["separations"]
        assert {track["samples"] for track in separation["tracks"]} == {RATE_HZ // 2}
        parts = [decode_wav((await app.http.get(track["url"])).content)[0] for track in separation["tracks"]]
        assert np.allclose(np.sum(parts, axis=0), NOISE[:, RATE_HZ : 3 * RATE_HZ // 2], atol=1e-5)
        analysis = (await app.http.get(f"{url}/analysis")).json()
        assert analysis["runs"][0]["provenance"]["audio_sha256"] == node["audio"]["sha256"]


async def test_a_crop_that_is_asked_for_again_under_its_key_is_the_same() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.upload(wav(NOISE))
        url = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}/crop"
        key = {"Idempotency-Key": "k"}
        first = await app.http.post(url, json={"to_s": 1.0}, headers=key)
        again = await app.http.post(url, json={"from_s": 0, "to_s": 1.0}, headers=key)
        assert (again.status_code, again.json()) == (201, first.json())
        problem(await app.http.post(url, json={"to_s": 0.5}, headers=key), 422)
        assert (await app.chain(chain["id"]))["version"] == chain["version"] + 1
        body = {"parent_id": chain["root_id"], "duration_s": 0.5, "at_s": 0.5}
        takes = [
            (await app.http.post(f"/v1/chains/{chain['id']}/nodes", json=body, headers=key)).json()
            for _ in range(2)
        ]
        assert takes[0]["crop"]["id"] == takes[1]["crop"]["id"]
        assert takes[0]["job_ids"] == takes[1]["job_ids"]
        other = {**body, "at_s": 0.6}
        problem(await app.http.post(f"/v1/chains/{chain['id']}/nodes", json=other, headers=key), 422)


async def test_no_such_part_or_no_such_node_to_cut() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        chain = await app.upload(wav(NOISE))
        root = chain["root_id"]
        before = await app.keys()
        for body in (
            {"from_s": 1.0, "to_s": 0.5},
            {"from_s": 1.0, "to_s": 1.0},
            {"from_s": 1.0, "to_s": 1.0999},
            {"from_s": 2.0},
            {"to_s": 2.1},
            {"to_s": 1e300},
            {"from_s": -0.1},
            {"from_s": "1"},
            {"from_s": True},
            {"from_s": 0.0, "to_s": 2.0},
            {},
            {"from": 1.0},
        ):
            refused = problem(await crop(app, chain["id"], root, **body), 422)
            assert refused["errors"][0]["field"] in ("from_s", "to_s", "from")
        for raw in ('{"from_s": NaN}', '{"from_s": Infinity}', '{"to_s": -Infinity}'):
            url = f"/v1/chains/{chain['id']}/nodes/{root}/crop"
            problem(await app.http.post(url, content=raw, headers={"Content-Type": "application/json"}), 422)
        for at_s in (0.0, -1, 0.05, 2.001, 1e300, "1"):
            body = {"parent_id": root, "at_s": at_s}
            refused = problem(await app.http.post(f"/v1/chains/{chain['id']}/nodes", json=body), 422)
            assert refused["errors"][0]["field"] == "at_s"
        problem(await crop(app, chain["id"], "nobody", to_s=1.0), 404)
        problem(await crop(app, "nothing", root, to_s=1.0), 404)
        assert await app.keys() == before
        pending = (await app.branch(chain["id"], root, duration_s=0.5))["nodes"][0]["id"]
        assert pending in problem(await crop(app, chain["id"], pending, to_s=0.2), 409)["detail"]
        body = {"parent_id": pending, "at_s": 0.2}
        problem(await app.http.post(f"/v1/chains/{chain['id']}/nodes", json=body), 409)
        part = await cropped(app, chain["id"], root, 0.0, 1.0)
        await app.http.post(f"/v1/chains/{chain['id']}/nodes/{part['id']}/discard")
        problem(await crop(app, chain["id"], part["id"], to_s=0.5), 409)


async def test_marks_of_a_node_are_kept_changed_and_taken_away() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.upload(wav(NOISE))
        url = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}"
        plain = (await app.http.get(url)).json()
        assert (plain["title"], plain["stars"], plain["note"]) == (None, 0, None)
        marked = (
            await app.http.patch(url, json={"title": "with brass", "stars": 4, "note": "é\n\U0001f3b5"})
        ).json()
        assert (marked["title"], marked["stars"], marked["note"]) == ("with brass", 4, "é\n\U0001f3b5")
        assert (await app.http.get(url)).json() == marked
        version = (await app.chain(chain["id"]))["version"]
        assert (await app.http.patch(url, json={"stars": 4})).json() == marked
        assert (await app.http.patch(url, json={})).json() == marked
        assert (await app.chain(chain["id"]))["version"] == version
        cleared = (await app.http.patch(url, json={"title": None, "note": "", "stars": 0})).json()
        assert cleared == plain
        for body in (
            {"stars": 6},
            {"stars": -1},
            {"stars": 2.5},
            {"stars": "3"},
            {"stars": None},
            {"stars": True},
            {"title": 7},
            {"title": "x" * 201},
            {"note": "x" * 2001},
            {"colour": "red"},
        ):
            problem(await app.http.patch(url, json=body), 422)
        problem(await app.http.patch(f"/v1/chains/{chain['id']}/nodes/nobody", json={"stars": 1}), 404)
