"""A whole song through `/process`, and everything killed in the middle of it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from tests.serve.conftest import SHORT_LEASES
from tests.serve.server import Server
from tests.support.clips import encoded, music

pytestmark = [pytest.mark.slow, pytest.mark.serve, pytest.mark.torch, pytest.mark.timeout(900)]

RATE_HZ = 44_100
SONG_S = 180
FINISH_S = 400.0
STEMS = ("drums", "bass", "other", "vocals", "residual")


def manifest(server: Server, job_id: str) -> dict[str, Any]:
    """What the job is at; nothing while nobody answers."""
    try:
        answer = httpx.get(f"{server.url}/job/{job_id}", timeout=10)
        found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return found
    except httpx.HTTPError:
        return {}


def ended(server: Server, job_id: str, progress: list[float]) -> dict[str, Any]:
    def is_over() -> dict[str, Any] | None:
        found = manifest(server, job_id)
        progress.append(found.get("progress", 0.0))
        return found if found.get("status") not in (None, "queued", "running") else None

    over: dict[str, Any] = server.wait_until(is_over, FINISH_S, "the job is over")
    return over


def test_a_song_of_three_minutes_whatever_dies_in_the_middle(tmp_path: Path) -> None:
    song = np.tile(music(10.0, RATE_HZ), SONG_S // 10)
    server = Server(tmp_path, **SHORT_LEASES)
    server.start()
    try:
        files = {"file": ("song.wav", encoded(song, RATE_HZ, "wav"))}
        posted = httpx.post(f"{server.url}/process", files=files, timeout=120)
        assert posted.status_code == 202, posted.text
        job_id = posted.json()["job_id"]
        server.wait_until(
            lambda: any(
                stage["name"] == "separation" for stage in manifest(server, job_id).get("stages", [])
            ),
            FINISH_S,
            "its stems are there",
        )
        before = manifest(server, job_id)
        server.kill_everything()
        server.start()
        progress: list[float] = []
        found = ended(server, job_id, progress)
        assert found["status"] == "succeeded", found
        assert {stage["state"] for stage in found["stages"]} == {"succeeded"}
        assert len({stage["name"] for stage in found["stages"]}) == len(found["stages"])
        # What was made before the end of everything was not made again.
        assert found["stages"][0] == before["stages"][0]
        names = found["outputs"]
        assert len(set(names)) == len(names)

        packed = httpx.get(f"{server.url}/download/{job_id}/all", timeout=300).content
        archive = zipfile.ZipFile(io.BytesIO(packed))
        assert archive.testzip() is None
        assert json.loads(archive.read("manifest.json"))["outputs"] == found["outputs"]
        listed = httpx.get(f"{server.url}/job/{job_id}/outputs", timeout=60).json()["outputs"]
        assert [output["name"] for output in listed] == names
        for output in listed:
            assert hashlib.sha256(archive.read(f"{output['name']}.wav")).hexdigest() == output["sha256"]
        total = sum(
            soundfile.read(io.BytesIO(archive.read(f"{name}.wav")), always_2d=True)[0] for name in STEMS
        )
        mix = soundfile.read(io.BytesIO(encoded(song, RATE_HZ, "wav")), always_2d=True)[0]
        np.testing.assert_allclose(total, mix, atol=1e-6)
    finally:
        server.stop()
