"""Stems of a node over HTTP: asked for once, heard in every format, cancelled, discarded, refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from deployments.audio.samples import Samples
from deployments.audio.wav import decode_wav
from deployments.engines.common.errors import EngineBroken
from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from deployments.engines.separation.protocol import Estimates, SegmentRequest
from tests.support.harness import Running, problem, running, wav
from tests.support.patience import until

RATE_HZ = 32_000
STEMS = ["drums", "bass", "other", "vocals", "residual"]


def noise(duration_s: float, channels: int = 1, rate_hz: int = RATE_HZ) -> Samples:
    values = np.random.default_rng(5).standard_normal((channels, round(duration_s * rate_hz)))
    return (0.1 * values).astype(np.float32)


@asynccontextmanager
async def studio(separator: MockSeparator | None = None, **more: Any) -> AsyncIterator[Running]:
    async with running(
        {"mock": MockEngine()}, separators={"mock": separator or MockSeparator()}, **more
    ) as app:
        yield app


async def uploaded(app: Running, clip: Samples, rate_hz: int = RATE_HZ) -> str:
    """The URL of the uploaded node."""
    chain = await app.upload(wav(clip, rate_hz))
    return f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}"


async def separated(app: Running, node_url: str, **body: Any) -> dict[str, Any]:
    """What `GET …/stems` says once the separation has ended."""
    answer = await app.http.post(f"{node_url}/stems", json=body)
    assert answer.status_code == 202, answer.text
    await app.ended(answer.json()["job_id"])
    listed: dict[str, Any] = (await app.http.get(f"{node_url}/stems")).json()
    return listed


async def heard(app: Running, url: str) -> Samples:
    answer = await app.http.get(url)
    assert answer.status_code == 200, answer.text
    return decode_wav(answer.content)[0]


@pytest.mark.parametrize(("channels", "rate_hz"), [(1, 32_000), (2, 44_100), (2, 48_000)])
async def test_the_stems_and_the_residual_add_up_to_the_node(channels: int, rate_hz: int) -> None:
    clip = noise(1.337, channels, rate_hz)
    async with studio() as app:
        node_url = await uploaded(app, clip, rate_hz)
        listed = await separated(app, node_url)
        assert [stem["name"] for stem in listed["stems"]] == STEMS
        tracks = [await heard(app, stem["url"]) for stem in listed["stems"]]
    assert {track.shape for track in tracks} == {clip.shape}
    np.testing.assert_allclose(np.sum(tracks, axis=0, dtype=np.float64), clip, atol=1e-6)
    assert max(np.abs(track).max() for track in tracks[:4]) > 0.1


async def test_a_node_tells_of_its_stems_and_of_their_making() -> None:
    async with studio() as app:
        node_url = await uploaded(app, noise(0.5))
        assert (await app.http.get(f"{node_url}/stems")).json()["status"] == "none"
        listed = await separated(app, node_url, two_stems="vocals")
        node = (await app.http.get(node_url)).json()
        job = await app.job(listed["job_id"])
    (separation,) = listed["separations"]
    assert (listed["status"], separation["status"], job["state"]) == ("ready", "ready", "succeeded")
    assert separation["provenance"]["model"] == "mock"
    assert separation["provenance"]["audio_sha256"] == node["audio"]["sha256"]
    assert separation["params"]["two_stems"] == "vocals"
    (shown,) = node["stems"]
    assert (shown["status"], shown["stems"]) == ("ready", ["vocals", "no_vocals", "residual"])
    assert (job["kind"], job["node_id"]) == ("stems", node["id"])


async def test_what_was_asked_before_is_one_job_and_other_options_are_another() -> None:
    async with studio() as app:
        node_url = await uploaded(app, noise(0.5))
        first = await separated(app, node_url)
        same = (await app.http.post(f"{node_url}/stems", json={"overlap": 0.25})).json()
        assert (same["job_id"], same["status"]) == (first["job_id"], "succeeded")
        other = await separated(app, node_url, stems=["drums"])
        assert other["job_id"] != first["job_id"]
        assert [stem["name"] for stem in other["stems"]] == ["drums", "residual"]
        assert len(other["separations"]) == 2
        # What came first is still there, by its job, and by name where the newest has none of it.
        assert (await heard(app, f"{node_url}/stems/bass?job={first['job_id']}")).size
        assert (await heard(app, f"{node_url}/stems/bass")).size


async def test_a_key_repeats_its_request_and_no_other() -> None:
    async with studio() as app:
        node_url = await uploaded(app, noise(0.5))
        headers = {"Idempotency-Key": "k"}
        answers = [await app.http.post(f"{node_url}/stems", headers=headers) for _ in range(2)]
        assert len({answer.json()["job_id"] for answer in answers}) == 1
        problem(await app.http.post(f"{node_url}/stems", headers=headers, json={"shifts": 1}), 422)


async def test_a_stem_comes_as_flac_mp3_and_in_parts() -> None:
    async with studio() as app:
        node_url = await uploaded(app, noise(0.5))
        await separated(app, node_url)
        for form, magic in (("flac", b"fLaC"), ("mp3", b"ID3")):
            answer = await app.http.get(f"{node_url}/stems/vocals?format={form}")
            assert answer.status_code == 200
            assert answer.content.startswith(magic)
        part = await app.http.get(f"{node_url}/stems/vocals", headers={"Range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, b"RIFF")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"model": "htdemucs"}, "model"),
        ({"stems": ["flute"]}, "stems"),
        ({"stems": ["bass", "bass"]}, "stems"),
        ({"stems": []}, "stems"),
        ({"two_stems": "flute"}, "two_stems"),
        ({"two_stems": "bass", "stems": ["bass"]}, "two_stems"),
        ({"shifts": 21}, "shifts"),
        ({"shifts": 6}, "shifts"),
        ({"overlap": 1.0}, "overlap"),
        ({"segment_s": 0.1}, "segment_s"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_options_outside_their_bounds_are_named(body: dict[str, Any], field: str) -> None:
    async with studio() as app:
        node_url = await uploaded(app, noise(0.3))
        refused = problem(await app.http.post(f"{node_url}/stems", json=body), 422)
        assert refused["errors"][0]["field"].endswith(field)
        assert (await app.http.get("/v1/jobs")).json()["jobs"] == []


async def test_a_segment_beyond_the_models_own_fails_and_says_why() -> None:
    async with studio() as app:
        node_url = await uploaded(app, noise(0.3))
        listed = await separated(app, node_url, segment_s=60)
        (separation,) = listed["separations"]
        assert separation["status"] == "failed"
        assert "segment_s" in separation["error"]["detail"]
        assert listed["stems"] == []
        # A failure is no answer for ever: asked again, it is tried again.
        again = (await app.http.post(f"{node_url}/stems", json={"segment_s": 60})).json()
        assert again["job_id"] != separation["job_id"]


async def test_what_is_not_there_is_said() -> None:
    async with studio(MockSeparator(segment_delay_s=5)) as app:
        node_url = await uploaded(app, noise(0.3))
        problem(await app.http.get(f"{node_url}/stems/vocals"), 404)
        problem(await app.http.post("/v1/chains/nobody/nodes/n/stems"), 404)
        problem(await app.http.post(f"{node_url}x/stems"), 404)
        job_id = (await app.http.post(f"{node_url}/stems")).json()["job_id"]
        assert problem(await app.http.get(f"{node_url}/stems/vocals"), 409)["type"].endswith("not-ready")
        await app.http.delete(f"/v1/jobs/{job_id}")


async def test_only_a_ready_node_has_stems() -> None:
    async with studio() as app:
        chain = (await app.http.post("/v1/chains", json={"prompt": "p", "duration_s": 0.5})).json()
        node_url = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}"
        answer = await app.http.post(f"{node_url}/stems")
        if answer.status_code == 409:
            await app.finished(chain["id"], chain["root_id"])
            answer = await app.http.post(f"{node_url}/stems")
        assert answer.status_code == 202


class TestEndings:
    async def test_a_cancelled_separation_stops_between_segments(self) -> None:
        separator = CountingSeparator(segment_delay_s=0.2)
        async with studio(separator) as app:
            node_url = await uploaded(app, noise(60.0))
            job_id = (await app.http.post(f"{node_url}/stems")).json()["job_id"]
            await until(lambda: separator.count > 0)
            assert (await app.http.delete(f"/v1/jobs/{job_id}")).json()["state"] == "cancelled"
            await until(lambda: app.worker.running == 0)
            assert separator.under_way == 0
            asked = separator.count
            await asyncio.sleep(0.5)
            assert separator.count == asked < 10
            listed = (await app.http.get(f"{node_url}/stems")).json()
            assert listed["separations"][0]["status"] == "cancelled"

    async def test_discarding_a_node_ends_its_separation(self) -> None:
        async with studio(MockSeparator(segment_delay_s=0.3)) as app:
            chain = await app.upload(wav(noise(0.5), RATE_HZ))
            made = await app.branch(chain["id"], chain["root_id"], duration_s=30.0)
            node_id = made["nodes"][0]["id"]
            await app.finished(chain["id"], node_id)
            node_url = f"/v1/chains/{chain['id']}/nodes/{node_id}"
            job_id = (await app.http.post(f"{node_url}/stems")).json()["job_id"]
            assert (await app.http.post(f"{node_url}/discard")).status_code == 200
            assert (await app.ended(job_id))["state"] == "cancelled"
            problem(await app.http.post(f"{node_url}/stems", json={"shifts": 1}), 409)

    async def test_deleting_the_chain_ends_it(self) -> None:
        async with studio(MockSeparator(segment_delay_s=0.3)) as app:
            chain = await app.upload(wav(noise(30.0), RATE_HZ))
            node_url = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}"
            job_id = (await app.http.post(f"{node_url}/stems")).json()["job_id"]
            assert (await app.http.delete(f"/v1/chains/{chain['id']}")).status_code == 204
            assert (await app.ended(job_id))["state"] == "cancelled"

    async def test_a_separator_that_breaks_for_a_while_costs_nothing_but_time(self) -> None:
        separator = CountingSeparator(broken=4)
        async with studio(separator) as app:
            node_url = await uploaded(app, noise(0.5))
            listed = await separated(app, node_url)
            assert listed["status"] == "ready"

    async def test_one_that_stays_broken_fails_the_job(self) -> None:
        async with studio(CountingSeparator(broken=1_000)) as app:
            node_url = await uploaded(app, noise(0.5))
            listed = await separated(app, node_url)
            assert listed["status"] == "failed"
            assert listed["separations"][0]["error"]["code"] == "engine-broken"


class CountingSeparator(MockSeparator):
    """Counts segments; the first `broken` of them fail."""

    def __init__(self, *, segment_delay_s: float = 0.0, broken: int = 0) -> None:
        super().__init__(segment_delay_s=segment_delay_s)
        self.count = 0
        self.under_way = 0
        self._broken = broken

    async def separate(self, segment: SegmentRequest) -> Estimates:
        self.count += 1
        if self.count <= self._broken:
            raise EngineBroken("a replica died")
        self.under_way += 1
        try:
            return await super().separate(segment)
        finally:
            self.under_way -= 1


async def test_models_and_health_tell_of_separators() -> None:
    async with studio() as app:
        listed = (await app.http.get("/v1/models")).json()["separators"]
        assert [(one["name"], one["default"], one["status"]) for one in listed] == [("mock", True, "ready")]
        assert listed[0]["sources"] == STEMS[:4]
        assert (await app.http.get("/health")).json()["separators"]["mock"]["status"] == "ready"


async def test_without_separators_stems_are_refused() -> None:
    async with running({"mock": MockEngine()}) as app:
        node_url = await uploaded(app, noise(0.3))
        refused = problem(await app.http.post(f"{node_url}/stems"), 422)
        assert "served are: none" in refused["detail"]
