"""A musician's whole way: upload, branch, listen, decide, export, tidy up. And what a seed promises."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from deployments.engines.music.mock import MockEngine
from segue_client.answers import Chain
from segue_client.events import EventDecoder, LiveChain
from tests.deployments.audio.decode.files import SIX_FORMATS, encoded, tones
from tests.support.harness import Running, listening, problem, running, tone, wav
from tests.support.scripted_engine import ScriptedEngine

RATE_HZ = 44_100


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def until_ready(app: Running, made: dict[str, Any], chain_id: str) -> list[dict[str, Any]]:
    return [await app.finished(chain_id, node["id"]) for node in made["nodes"]]


async def test_from_a_clip_to_a_finished_file_and_to_nothing() -> None:
    clip = wav(tone(1.5, RATE_HZ), RATE_HZ)
    async with running({"mock": MockEngine(step_delay_s=0.02)}) as app, listening(app.api) as http:
        chain = await app.upload(clip, title="Night drive")
        root_id = chain["root_id"]
        url = f"/v1/chains/{chain['id']}"
        assert chain["title"] == "Night drive"
        assert chain["spine"] == [root_id]
        assert chain["nodes"][0]["status"] == "ready"
        assert chain["nodes"][0]["audio"]["duration_s"] == pytest.approx(1.5)

        async with http.stream("GET", f"{url}/events") as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            branched = await app.branch(chain["id"], root_id, prompt="drums come in", takes=2, duration_s=1.0)
            decoder, live = EventDecoder(), LiveChain(Chain.model_validate(chain))
            progress: list[float] = []
            async for chunk in events.aiter_bytes():
                for event in decoder.feed(chunk):
                    live.apply(event)
                    if event.event == "progress":
                        progress.append(live.chain.nodes[-1].progress or 0.0)
                if [node.status for node in live.chain.nodes] == ["ready"] * 3:
                    break
        assert progress, "no progress was told of"
        kept, dropped = branched["nodes"]
        assert branched["job_ids"] == [kept["job_id"], dropped["job_id"]]

        committed = await app.http.post(f"{url}/nodes/{kept['id']}/commit")
        assert committed.json()["spine"] == [root_id, kept["id"]]
        discarded = await app.http.post(f"{url}/nodes/{dropped['id']}/discard")
        decisions = {node["id"]: node["decision"] for node in discarded.json()["nodes"]}
        assert decisions == {root_id: "committed", kept["id"]: "committed", dropped["id"]: "discarded"}

        line = (await app.http.get(f"{url}/spine")).json()
        assert [(node["id"], node["offset_s"]) for node in line["nodes"]] == [
            (root_id, 0.0),
            (kept["id"], 1.5),
        ]
        assert line["duration_s"] == pytest.approx(2.5)

        assert (await app.http.patch(url, json={"title": "Dawn"})).json()["title"] == "Dawn"
        export = await app.http.post(f"{url}/export", json={"format": "wav"})
        assert export.headers["content-disposition"] == 'attachment; filename="Dawn.wav"'
        again = await app.http.get(f"/v1/exports/{export.headers['x-segue-export-id']}/file")
        assert again.content == export.content

        assert (await app.http.delete(url)).status_code == 204
        problem(await app.http.delete(url), 404)
        for path in ("", "/spine", "/events", f"/nodes/{kept['id']}", f"/nodes/{kept['id']}/audio"):
            problem(await app.http.get(url + path), 404)
        problem(await app.http.get(f"{url}/nodes/{root_id}/original"), 404)
        problem(await app.http.get(f"{url}/nodes/{kept['id']}/provenance"), 404)
        problem(await app.http.patch(url, json={"title": "back"}), 404)
        problem(await app.http.post(f"{url}/export", json={"format": "wav"}), 404)
        problem(await app.http.post(f"{url}/nodes", json={"parent_id": root_id}), 404)
        problem(await app.http.post(f"{url}/nodes/{kept['id']}/commit"), 404)
        assert (await app.http.get("/v1/chains")).json()["chains"] == []


@pytest.mark.parametrize("extension", SIX_FORMATS)
async def test_each_format_is_understood_and_kept_byte_for_byte(extension: str) -> None:
    clip = encoded(tones(RATE_HZ), RATE_HZ, extension)
    async with running({"mock": MockEngine()}) as app:
        # The name says nothing: what counts is the content.
        chain = await app.upload(clip, filename="take.bin")
        root = chain["nodes"][0]
        assert root["audio"]["original_format"] == extension
        assert root["audio"]["sample_rate_hz"] == chain["sample_rate_hz"] == RATE_HZ
        assert root["audio"]["channels"] == chain["channels"] == 2
        assert root["audio"]["duration_s"] == pytest.approx(1.0, abs=0.1)
        assert chain["title"] == "take"
        url = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}"
        original = await app.http.get(f"{url}/original")
        assert original.content == clip
        assert original.headers["content-disposition"] == 'attachment; filename="take.bin"'
        assert root["audio"]["original_name"] == "take.bin"
        samples, rate_hz = soundfile.read(io.BytesIO((await app.http.get(f"{url}/audio")).content))
        assert rate_hz == RATE_HZ
        assert len(samples) == root["audio"]["samples"]


async def test_exports_last_as_long_as_the_line_in_every_format() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.upload(wav(tone(0.7, RATE_HZ), RATE_HZ), title="Über / Nacht")
        parent = chain["root_id"]
        for duration_s in (0.61, 0.73):
            branched = await app.branch(chain["id"], parent, duration_s=duration_s)
            parent = branched["nodes"][0]["id"]
            await app.finished(chain["id"], parent)
            await app.http.post(f"/v1/chains/{chain['id']}/nodes/{parent}/commit")
        total = sum(round(s * RATE_HZ) for s in (0.7, 0.61, 0.73))
        for body, subtype in (
            ({"format": "wav"}, "PCM_24"),
            ({"format": "wav", "bit_depth": 16}, "PCM_16"),
            ({"format": "wav", "bit_depth": 32}, "FLOAT"),
            ({"format": "flac"}, "PCM_24"),
            ({"format": "mp3"}, "MPEG_LAYER_III"),
        ):
            answer = await app.http.post(f"/v1/chains/{chain['id']}/export", json=body)
            assert answer.status_code == 200, answer.text
            info = soundfile.info(io.BytesIO(answer.content))
            assert info.subtype == subtype
            assert (info.samplerate, info.channels) == (RATE_HZ, 2)
            if body["format"] == "mp3":
                assert info.duration == pytest.approx(total / RATE_HZ, abs=0.1)
            else:
                assert info.frames == total
        other_rate = await app.http.post(
            f"/v1/chains/{chain['id']}/export", json={"format": "wav", "sample_rate_hz": 16_000}
        )
        info = soundfile.info(io.BytesIO(other_rate.content))
        assert info.samplerate == 16_000
        assert info.duration == pytest.approx(total / RATE_HZ, abs=0.001)


async def test_an_export_that_is_not_waited_for_is_a_job_with_a_file_at_its_end() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.generated()
        url = f"/v1/chains/{chain['id']}/export"
        later = await app.http.post(url, json={"format": "flac"}, headers={"Prefer": "respond-async"})
        assert later.status_code == 202
        job = later.json()
        assert later.headers["location"] == f"/v1/jobs/{job['job_id']}"
        done = await app.http.post(url, json={"format": "flac"})
        result = (await app.job(job["job_id"]))["result"]
        assert result["export_id"] == done.headers["x-segue-export-id"]
        assert result["duration_s"] == pytest.approx(0.5)
        assert result["size_bytes"] == len(done.content)


async def test_an_export_that_takes_too_long_goes_on_as_a_job_and_can_be_cancelled() -> None:
    async with running({"mock": MockEngine()}, work=False, overrides={"export": {"wait_s": 3.0}}) as app:
        chain = await app.upload(wav(tone(0.2)))
        url = f"/v1/chains/{chain['id']}/export"
        late = await app.http.post(url, json={"format": "wav"})
        assert late.status_code == 202
        assert "preference-applied" not in late.headers
        assert (late.json()["state"], late.json()["result"]) == ("queued", None)
        waiting = asyncio.create_task(app.http.post(url, json={"format": "wav"}))
        await asyncio.sleep(0.5)
        await app.http.delete(f"/v1/jobs/{late.json()['id']}")
        assert problem(await waiting, 409)["job_id"] == late.json()["id"]
        # What was cancelled can be asked for again, and is another job.
        again = await app.http.post(url, json={"format": "wav"}, headers={"Prefer": "respond-async"})
        assert again.json()["id"] != late.json()["id"]


async def test_an_export_that_fails_says_so_without_the_servers_insides(tmp_path: Path) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho /secret/place: no such codec >&2\nexit 3\n")
    broken.chmod(0o755)
    async with running({"mock": MockEngine()}, overrides={"export": {"ffmpeg_path": str(broken)}}) as app:
        chain = await app.generated()
        answer = await app.http.post(f"/v1/chains/{chain['id']}/export", json={"format": "wav"})
        body = problem(answer, 500)
        assert body["type"].endswith("export-failed")
        job = await app.job(body["job_id"])
        assert job["state"] == "failed"
        listened = await app.http.get(f"{chain['nodes'][0]['audio']['url']}?format=mp3")
        for text in (answer.text, json.dumps(job), problem(listened, 500)["detail"]):
            assert "secret" not in text
            assert str(tmp_path) not in text


async def test_node_audio_in_ranges_with_validators_and_as_other_formats() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.upload(wav(tone(1.0, RATE_HZ), RATE_HZ))
        branched = await app.branch(chain["id"], chain["root_id"], duration_s=0.75)
        node = await app.finished(chain["id"], branched["nodes"][0]["id"])
        url = node["audio"]["url"]
        whole = await app.http.get(url)
        assert whole.headers["content-type"] == "audio/wav"
        assert sha256(whole.content) == node["audio"]["sha256"]
        assert soundfile.info(io.BytesIO(whole.content)).frames == round(0.75 * RATE_HZ)

        head = await app.http.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(whole.content))
        assert head.headers["etag"] == whole.headers["etag"]

        part = await app.http.get(url, headers={"Range": "bytes=100-199"})
        assert part.status_code == 206
        assert part.content == whole.content[100:200]
        assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
        tail = await app.http.get(url, headers={"Range": "bytes=-10"})
        assert tail.content == whole.content[-10:]
        beyond = await app.http.get(url, headers={"Range": f"bytes={len(whole.content)}-"})
        problem(beyond, 416)
        assert beyond.headers["content-range"] == f"bytes */{len(whole.content)}"

        same = await app.http.get(url, headers={"If-None-Match": whole.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        other = await app.http.get(url, headers={"If-None-Match": '"something else"'})
        assert other.content == whole.content

        for audio_format, media_type in (("flac", "audio/flac"), ("mp3", "audio/mpeg")):
            answer = await app.http.get(f"{url}?format={audio_format}")
            assert answer.headers["content-type"] == media_type
            duration_s = soundfile.info(io.BytesIO(answer.content)).duration
            assert duration_s == pytest.approx(0.75, abs=0.1)
        problem(await app.http.get(f"{url}?format=exe"), 422)


async def test_provenance_tells_all_that_made_a_node() -> None:
    async with running({"mock": MockEngine()}) as app:
        chain = await app.upload(wav(tone(1.0)))
        branched = await app.branch(
            chain["id"],
            chain["root_id"],
            prompt="brass",
            seed=99,
            cfg_coef=4.5,
            top_k=50,
            prompt_duration_s=0.5,
        )
        node = await app.finished(chain["id"], branched["nodes"][0]["id"])
        url = f"/v1/chains/{chain['id']}/nodes"
        told = (await app.http.get(f"{url}/{node['id']}/provenance")).json()
        assert told["model"] == "mock"
        assert told["licence"] == "MIT"
        assert len(told["weights_sha256"]) == 64
        assert (told["prompt"], told["seed"]) == ("brass", 99)
        assert (told["params"]["cfg_coef"], told["params"]["top_k"]) == (4.5, 50)
        assert told["parent_audio_sha256"] == chain["nodes"][0]["audio"]["sha256"]
        assert told["context_duration_s"] == pytest.approx(0.5)
        assert told["audio_sha256"] == node["audio"]["sha256"]
        uploaded = (await app.http.get(f"{url}/{chain['root_id']}/provenance")).json()
        assert uploaded["origin"] == "upload"
        assert uploaded["original_sha256"] == sha256(wav(tone(1.0)))
        problem(await app.http.get(f"{url}/{node['id']}/original"), 409)


async def test_lists_are_newest_first_and_continue_after_their_cursor() -> None:
    async with running({"mock": MockEngine()}) as app:
        made = [(await app.generated(title=f"chain {n}"))["id"] for n in range(5)]
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            page = (
                await app.http.get(
                    "/v1/chains", params={"limit": 2, **({"cursor": cursor} if cursor else {})}
                )
            ).json()
            seen += [chain["id"] for chain in page["chains"]]
            cursor = page["cursor"]
        assert seen == made[::-1]
        assert cursor is None
        jobs = (await app.http.get("/v1/jobs", params={"limit": 3})).json()
        assert [job["chain_id"] for job in jobs["jobs"]] == made[:1:-1]
        rest = (await app.http.get("/v1/jobs", params={"cursor": jobs["cursor"]})).json()
        assert [job["chain_id"] for job in rest["jobs"]] == made[1::-1]
        await app.http.delete(f"/v1/chains/{made[2]}")
        left = (await app.http.get("/v1/chains")).json()["chains"]
        assert [chain["id"] for chain in left] == [made[4], made[3], made[1], made[0]]


async def test_a_seed_means_the_same_sound_wherever_it_is_used() -> None:
    clip = wav(tone(0.5))
    # In text mode the mock's sound hangs on seed and prompt alone.
    ask: dict[str, Any] = {"prompt": "bells", "mode": "text", "duration_s": 0.5}
    async with running({"mock": MockEngine()}) as app:
        first, second = await app.upload(clip), await app.upload(clip)

        async def sounds(chain: dict[str, Any], **body: Any) -> list[tuple[int, str]]:
            branched = await app.branch(chain["id"], chain["root_id"], **{**ask, **body})
            ready = await until_ready(app, branched, chain["id"])
            return [(node["seed"], node["audio"]["sha256"]) for node in ready]

        takes = await sounds(first, seed=7, takes=3)
        assert takes == await sounds(second, seed=7, takes=3)
        assert takes[0][0] == 7
        assert len({seed for seed, _ in takes}) == 3
        assert len({sound for _, sound in takes}) == 3
        for seed, sound in takes:
            assert await sounds(second, seed=seed) == [(seed, sound)]
        [(drawn, sound)] = await sounds(first)
        assert 0 <= drawn < 2**32
        assert await sounds(second, seed=drawn) == [(drawn, sound)]
        [(_, other)] = await sounds(first, seed=8)
        assert other != takes[0][1]
        assert (await sounds(first, seed=2**32 - 1))[0][0] == 2**32 - 1


async def test_a_chain_can_begin_with_a_prompt_and_is_branched_once_it_sounds() -> None:
    engine = ScriptedEngine()
    engine.may_begin.clear()
    async with running({"mock": engine}) as app:
        answer = await app.http.post(
            "/v1/chains", json={"title": "From nothing", "prompt": "a harp", "duration_s": 1.0, "seed": 5}
        )
        assert answer.status_code == 201
        chain = answer.json()
        url, root_id = f"/v1/chains/{chain['id']}", chain["root_id"]
        assert chain["title"] == "From nothing"
        assert chain["nodes"][0]["status"] in ("pending", "running")
        assert chain["nodes"][0]["job_id"] == chain["job_id"]
        assert chain["sample_rate_hz"] is None
        problem(await app.http.post(f"{url}/nodes", json={"parent_id": root_id}), 409)
        problem(await app.http.get(f"{url}/nodes/{root_id}/audio"), 409)
        problem(await app.http.get(f"{url}/nodes/{root_id}/provenance"), 409)
        problem(await app.http.post(f"{url}/export", json={"format": "wav"}), 409)

        engine.may_begin.set()
        root = await app.finished(chain["id"], root_id)
        assert (root["seed"], root["prompt"], root["origin"]) == (5, "a harp", "generation")
        grown = await app.chain(chain["id"])
        assert (grown["sample_rate_hz"], grown["channels"]) == (32_000, 1)
        assert grown["spine"] == [root_id]
        branched = await app.branch(chain["id"], root_id, duration_s=0.5)
        assert (await app.finished(chain["id"], branched["nodes"][0]["id"]))["status"] == "ready"
