"""A musician's first journey on the server that `make run` starts: real Serve, real audiocraft, real ffmpeg."""

from __future__ import annotations

import io
import itertools
import json
import time
import zipfile
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from segue_client.events import EventDecoder
from tests.serve.server import Server
from tests.support.clips import FORMATS, encoded, music

pytestmark = [pytest.mark.serve, pytest.mark.torch]

RATE_HZ = 44_100


def upload(http: httpx.Client, audio_format: str = "wav", **clip: Any) -> dict[str, Any]:
    data = encoded(music(**clip), RATE_HZ, audio_format)
    answer = http.post("/v1/chains", files={"file": (f"clip.{audio_format}", data)})
    assert answer.status_code == 201, answer.text
    chain: dict[str, Any] = answer.json()
    return chain


def finished(
    http: httpx.Client, chain_id: str, node_ids: list[str], timeout_s: float = 120
) -> list[dict[str, Any]]:
    deadline_s = time.monotonic() + timeout_s
    while True:
        nodes = [http.get(f"/v1/chains/{chain_id}/nodes/{node_id}").json() for node_id in node_ids]
        if all(node["status"] in ("ready", "failed", "cancelled") for node in nodes):
            return nodes
        assert time.monotonic() < deadline_s, nodes
        time.sleep(0.1)


@pytest.mark.parametrize("audio_format", FORMATS)
def test_each_format_becomes_a_chain(http: httpx.Client, audio_format: str) -> None:
    chain = upload(http, audio_format)
    root = chain["nodes"][0]
    assert (root["status"], root["decision"]) == ("ready", "committed")
    assert root["audio"]["original_format"] == audio_format
    assert root["duration_s"] == pytest.approx(3.0, abs=0.1)


def test_upload_branch_listen_commit_export(http: httpx.Client) -> None:
    chain = upload(http)
    chain_id, root = chain["id"], chain["nodes"][0]
    branched = http.post(
        f"/v1/chains/{chain_id}/nodes",
        json={"parent_id": root["id"], "prompt": "strings", "duration_s": 6.0, "takes": 2, "seed": 7},
    )
    assert branched.status_code == 202, branched.text
    one, other = finished(http, chain_id, [node["id"] for node in branched.json()["nodes"]])

    assert one["status"] == other["status"] == "ready", (one, other)
    assert one["audio"]["samples"] == other["audio"]["samples"] == 6 * RATE_HZ
    assert one["seed"] == 7 != other["seed"]
    assert one["audio"]["sha256"] != other["audio"]["sha256"]
    assert http.post(f"/v1/chains/{chain_id}/nodes/{one['id']}/commit").json()["spine"] == [
        root["id"],
        one["id"],
    ]
    assert http.post(f"/v1/chains/{chain_id}/nodes/{other['id']}/discard").status_code == 200

    for audio_format in ("wav", "flac", "mp3"):
        answer = http.post(f"/v1/chains/{chain_id}/export", json={"format": audio_format})
        assert answer.status_code == 200, answer.text
        line, rate_hz = soundfile.read(io.BytesIO(answer.content), always_2d=True)
        assert rate_hz == RATE_HZ
        assert len(line) / rate_hz == pytest.approx(9.0, abs=0.1)
        if audio_format == "wav":
            assert len(line) == 9 * RATE_HZ
            assert_good_seam(line, root["audio"]["samples"])


def assert_good_seam(line: np.ndarray[Any, Any], seam: int) -> None:
    """No click, and no jump in level of more than 3 dB between the second before and the second after."""
    bend = np.abs(np.diff(line, n=2, axis=0)).max(axis=1)
    assert bend[seam - 3 : seam + 3].max() <= np.quantile(bend, 0.999)
    before, after = line[seam - RATE_HZ : seam], line[seam : seam + RATE_HZ]
    assert abs(20 * np.log10(after.std() / before.std())) < 3.0


def test_the_same_request_gives_the_same_bytes(http: httpx.Client) -> None:
    hashes = []
    for _ in range(2):
        chain = upload(http)
        wanted = {"parent_id": chain["root_id"], "prompt": "again", "duration_s": 2.0, "seed": 99}
        node_id = http.post(f"/v1/chains/{chain['id']}/nodes", json=wanted).json()["nodes"][0]["id"]
        (node,) = finished(http, chain["id"], [node_id])
        hashes.append(node["audio"]["sha256"])
    assert hashes[0] == hashes[1]


def test_events_are_followed_through_the_proxy(http: httpx.Client) -> None:
    chain = upload(http)
    url = f"/v1/chains/{chain['id']}"
    told: list[str] = []
    heard: list[float] = []
    with http.stream("GET", f"{url}/events") as answer:
        decoder = EventDecoder()
        events = (event for chunk in answer.iter_bytes() for event in decoder.feed(chunk))
        assert next(events).event == "snapshot"
        wanted = {"parent_id": chain["root_id"], "duration_s": 4.0}
        (take,) = http.post(f"{url}/nodes", json=wanted).json()["nodes"]
        for event in events:
            # Of the root too there may be something to tell: its analysis.
            data = json.loads(event.data)
            if event.event == "progress" and data["node_id"] == take["id"]:
                heard.append(data["progress"])
            if event.event == "node" and data["id"] == take["id"]:
                told.append(data["status"])
                if told[-1] == "ready":
                    break

    # A stream tells what is: two changes that come close together may be told as one.
    assert told == [status for status in ("pending", "running", "ready") if status in told]
    assert heard == sorted(heard)
    assert heard


def test_a_take_is_heard_while_it_is_being_made(http: httpx.Client) -> None:
    chain = upload(http)
    wanted = {"parent_id": chain["root_id"], "prompt": "bells", "duration_s": 20.0}
    branched = http.post(f"/v1/chains/{chain['id']}/nodes", json=wanted).json()
    node_id, job_id = branched["nodes"][0]["id"], branched["job_id"]
    heard, state = b"", ""
    with http.stream("GET", f"/v1/jobs/{job_id}/audio") as answer:
        assert answer.status_code == 200
        for data in answer.iter_raw():
            state = state or http.get(f"/v1/jobs/{job_id}").json()["state"]
            heard += data

    assert state == "running"
    (node,) = finished(http, chain["id"], [node_id])
    assert node["audio"]["samples"] == 20 * RATE_HZ
    assert heard == http.get(f"/v1/chains/{chain['id']}/nodes/{node_id}/audio").content


def test_a_take_that_is_cancelled_while_it_is_heard_breaks_off(http: httpx.Client) -> None:
    chain = upload(http)
    wanted = {"parent_id": chain["root_id"], "duration_s": 30.0}
    job_id = http.post(f"/v1/chains/{chain['id']}/nodes", json=wanted).json()["job_id"]
    with http.stream("GET", f"/v1/jobs/{job_id}/audio") as answer:
        heard = answer.iter_raw()
        assert next(heard)
        http.delete(f"/v1/jobs/{job_id}")
        with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
            list(heard)


def test_a_cancelled_take_ends_soon_and_frees_the_generator(http: httpx.Client) -> None:
    chain = upload(http)
    wanted = {"parent_id": chain["root_id"], "duration_s": 30.0}
    branched = http.post(f"/v1/chains/{chain['id']}/nodes", json=wanted).json()
    node_id, job_id = branched["nodes"][0]["id"], branched["job_id"]
    deadline_s = time.monotonic() + 60
    while http.get(f"/v1/jobs/{job_id}").json()["progress"] == 0.0 and time.monotonic() < deadline_s:
        time.sleep(0.05)

    assert http.delete(f"/v1/jobs/{job_id}").json()["state"] == "cancelled"
    assert http.get(f"/v1/chains/{chain['id']}/nodes/{node_id}").json()["status"] == "cancelled"
    wanted = {"parent_id": chain["root_id"], "duration_s": 1.0}
    after = http.post(f"/v1/chains/{chain['id']}/nodes", json=wanted).json()["nodes"][0]["id"]
    (node,) = finished(http, chain["id"], [after])
    assert node["status"] == "ready"


def test_what_is_served_is_told(http: httpx.Client) -> None:
    health = http.get("/health").json()
    assert (health["ok"], health["status"], health["model"], health["gpu"]) == (True, "ready", "tiny", False)
    (model,) = http.get("/v1/models").json()["models"]
    assert (model["name"], model["licence"], model["status"]) == ("tiny", "MIT", "ready")
    deployments = http.get("/v1/gpu").json()["deployments"]
    assert set(deployments) == {"Ingress", "Generator", "Separator", "Analyser", "JobRunner", "EventHub"}


def test_a_foreign_host_name_is_refused(http: httpx.Client) -> None:
    answer = http.get("/v1/chains", headers={"Host": "attacker.example"})
    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_song_is_taken_apart_though_the_separator_dies(server: Server, http: httpx.Client) -> None:
    song = np.tile(music(), 30)
    posted = http.post("/process", files={"file": ("song.wav", encoded(song, RATE_HZ, "wav"))})
    assert posted.status_code == 202, posted.text
    job_id = posted.json()["job_id"]
    seen: list[float] = []

    def manifest() -> dict[str, Any]:
        found: dict[str, Any] = http.get(f"/job/{job_id}").json()
        seen.append(found["progress"])
        return found

    server.wait_until(lambda: manifest()["progress"] > 0.02, 60, "segments to come back")
    server.kill("Separator")
    ended = server.wait_until(
        lambda: (found := manifest())["status"] not in ("queued", "running") and found, 120, "the job's end"
    )
    assert ended["status"] == "succeeded", ended
    assert {stage["state"] for stage in ended["stages"]} == {"succeeded"}
    # It falls only where a whole attempt was given up: on a machine so busy that no heartbeat gets through.
    falls = sum(after < before for before, after in itertools.pairwise(seen))
    assert falls < ended["attempt"]
    archive = zipfile.ZipFile(io.BytesIO(http.get(f"/download/{job_id}/all").content))
    assert len(archive.namelist()) == 1 + len(ended["outputs"])
    assert json.loads(archive.read("manifest.json"))["outputs"] == ended["outputs"]
    stems = [
        soundfile.read(io.BytesIO(archive.read(f"{name}.wav")), always_2d=True)[0]
        for name in ("drums", "bass", "other", "vocals", "residual")
    ]
    mix = soundfile.read(io.BytesIO(encoded(song, RATE_HZ, "wav")), always_2d=True)[0]
    np.testing.assert_allclose(np.sum(stems, axis=0), mix, atol=1e-6)


def test_a_node_has_stems(http: httpx.Client) -> None:
    chain = upload(http)
    url = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}"
    job_id = http.post(f"{url}/stems").json()["job_id"]
    deadline_s = time.monotonic() + 60
    while (job := http.get(f"/v1/jobs/{job_id}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < deadline_s, job
        time.sleep(0.1)
    assert job["state"] == "succeeded", job
    listed = http.get(f"{url}/stems").json()
    assert [stem["name"] for stem in listed["stems"]] == ["drums", "bass", "other", "vocals", "residual"]
    heard = http.get(listed["stems"][0]["url"])
    assert heard.headers["content-type"] == "audio/wav"
    assert listed["stems"][0]["samples"] == chain["nodes"][0]["audio"]["samples"]
