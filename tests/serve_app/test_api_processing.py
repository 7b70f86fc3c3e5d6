"""The processing pipeline over HTTP: a track goes in, its parts come out, whatever happens in between."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from deployments.audio.samples import Samples
from deployments.audio.wav import decode_wav
from deployments.engines.common.errors import EngineBroken
from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from deployments.engines.separation.protocol import Estimates, SegmentRequest
from storage.stores.memory import MemoryStore
from tests.support.harness import Running, problem, running, wav
from tests.support.patience import until

RATE_HZ = 44_100
STEMS = ["drums", "bass", "other", "vocals", "residual"]
MADE = [*STEMS, "harmonic", "percussive", "main", "main_harmonic", "main_percussive"]
ALL = [*MADE, *(f"{name}_normalized" for name in MADE)]


def song(duration_s: float = 2.0, channels: int = 2, rate_hz: int = RATE_HZ) -> Samples:
    """Two chords and a click each half second: something to last, something to strike."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    lasting = sum(np.sin(2 * np.pi * pitch * time_s) for pitch in (220.0, 277.2, 329.6))
    striking = np.random.default_rng(3).standard_normal(time_s.size) * np.exp(-60 * (time_s % 0.5))
    rows = [0.08 * lasting + 0.2 * striking * (1 + channel) for channel in range(channels)]
    return np.array(rows, np.float32)


@asynccontextmanager
async def studio(separator: MockSeparator | None = None, **more: Any) -> AsyncIterator[Running]:
    async with running(
        {"mock": MockEngine()}, separators={"mock": separator or MockSeparator()}, **more
    ) as app:
        yield app


async def post(app: Running, data: bytes, filename: str = "Night drive.wav", **fields: str) -> str:
    """The job's id."""
    answer = await app.http.post("/process", files={"file": (filename, data)}, data=fields)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


async def manifest_of(app: Running, job_id: str) -> dict[str, Any]:
    answer = await app.http.get(f"/job/{job_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def processed(app: Running, data: bytes, **fields: str) -> dict[str, Any]:
    """The manifest once the job has ended."""
    job_id = await post(app, data, **fields)
    await app.ended(job_id, timeout_s=60)
    return await manifest_of(app, job_id)


async def track(app: Running, job_id: str, name: str) -> Samples:
    answer = await app.http.get(f"/download/{job_id}/{name}")
    assert answer.status_code == 200, answer.text
    return decode_wav(answer.content)[0]


@pytest.mark.parametrize(("channels", "rate_hz"), [(2, 44_100), (1, 48_000)])
async def test_everything_is_made_and_adds_up(channels: int, rate_hz: int) -> None:
    mix = song(1.7, channels, rate_hz)
    async with studio() as app:
        manifest = await processed(app, wav(mix, rate_hz))
        assert manifest["status"] == "succeeded"
        assert manifest["progress"] == 1.0
        assert [stage["state"] for stage in manifest["stages"]] == ["succeeded"] * 4
        assert manifest["outputs"] == ALL
        made = {name: await track(app, manifest["job_id"], name) for name in ALL}
    assert {samples.shape for samples in made.values()} == {mix.shape}

    def total(*names: str) -> Any:
        return np.sum([made[name] for name in names], axis=0, dtype=np.float64)

    np.testing.assert_allclose(total(*STEMS), mix, atol=1e-6)
    np.testing.assert_allclose(total("harmonic", "percussive"), mix, atol=1e-6)
    np.testing.assert_allclose(total("main", "vocals"), mix, atol=1e-6)
    np.testing.assert_allclose(total("main_harmonic", "main_percussive"), made["main"], atol=1e-6)


async def test_the_manifest_tells_hashes_levels_and_parameters() -> None:
    mix = song(1.0)
    async with studio() as app:
        manifest = await processed(app, wav(mix))
        listed = (await app.http.get(f"/job/{manifest['job_id']}/outputs")).json()["outputs"]
        for output in listed:
            answer = await app.http.get(output["url"])
            assert hashlib.sha256(answer.content).hexdigest() == output["sha256"]
            assert len(answer.content) == output["size_bytes"]
            assert output["duration_s"] == pytest.approx(1.0)
            peak = np.abs(decode_wav(answer.content)[0]).max()
            assert output["peak_dbfs"] == pytest.approx(max(-120.0, 20 * np.log10(max(peak, 1e-9))), abs=0.01)
    assert manifest["source"]["filename"] == "Night drive.wav"
    assert manifest["source"]["channels"] == 2
    stages = {stage["name"]: stage for stage in manifest["stages"]}
    assert stages["separation"]["parameters"]["model"] == "mock"
    assert stages["normalisation"]["parameters"]["target_db"] == -14.0
    assert all(stage["seconds"] >= 0 for stage in manifest["stages"])


async def test_the_same_again_has_the_same_hashes() -> None:
    async with studio() as app:
        manifests = [await processed(app, wav(song(1.0)), shifts="1", seed="7") for _ in range(2)]
    hashes = [
        [output["sha256"] for stage in manifest["stages"] for output in stage["outputs"]]
        for manifest in manifests
    ]
    assert hashes[0] == hashes[1]
    assert manifests[0]["job_id"] != manifests[1]["job_id"]


async def test_normalised_copies_are_as_loud_as_asked_and_never_clip() -> None:
    async with studio() as app:
        manifest = await processed(app, wav(song(3.0)), normalize="peak", target_db="-6", composite="false")
        (stage,) = (stage for stage in manifest["stages"] if stage["name"] == "normalisation")
        for output in stage["outputs"]:
            copy = await track(app, manifest["job_id"], output["name"])
            original = await track(app, manifest["job_id"], output["facts"]["of"])
            gain = 10 ** (output["facts"]["gain_db"] / 20)
            np.testing.assert_allclose(copy, original * gain, atol=1e-6)
            assert np.abs(copy).max() <= 10 ** (-6 / 20) + 1e-3
        drums = next(output for output in stage["outputs"] if output["name"] == "drums_normalized")
        assert drums["peak_dbfs"] == pytest.approx(-6.0, abs=1.0)


async def test_stages_can_be_left_out() -> None:
    async with studio() as app:
        manifest = await processed(
            app,
            wav(song(0.5)),
            stems="vocals, drums".replace(" ", ""),
            harmonic_percussive="false",
            composite="false",
            normalize="off",
        )
    assert manifest["outputs"] == ["drums", "vocals", "residual"]
    assert [stage["name"] for stage in manifest["stages"]] == ["separation"]


@pytest.mark.parametrize(
    ("fields", "subtype", "suffix"),
    [
        ({"format": "wav", "bit_depth": "16"}, "PCM_16", "wav"),
        ({"format": "wav", "bit_depth": "24"}, "PCM_24", "wav"),
        ({"format": "flac"}, "PCM_24", "flac"),
        ({"format": "mp3"}, "MPEG_LAYER_III", "mp3"),
    ],
)
async def test_tracks_are_delivered_in_the_format_asked_for(
    fields: dict[str, str], subtype: str, suffix: str
) -> None:
    mix = song(1.0)
    async with studio() as app:
        manifest = await processed(app, wav(mix), normalize="off", composite="false", **fields)
        assert manifest["outputs"] == [*STEMS, "harmonic", "percussive"]
        answer = await app.http.get(f"/download/{manifest['job_id']}/drums")
        assert f"Night drive-drums.{suffix}" in answer.headers["content-disposition"]
        file = soundfile.SoundFile(io.BytesIO(answer.content))
        assert (file.subtype, file.samplerate, file.channels) == (subtype, RATE_HZ, 2)
        if suffix != "mp3":
            assert file.frames == mix.shape[1]
        archive = await app.http.get(f"/download/{manifest['job_id']}/all")
        names = zipfile.ZipFile(io.BytesIO(archive.content)).namelist()
        assert f"drums.{suffix}" in names


class TestArchive:
    @pytest.mark.parametrize("compression", ["stored", "deflated"])
    async def test_it_holds_every_track_and_the_manifest(self, compression: str) -> None:
        async with studio() as app:
            manifest = await processed(app, wav(song(0.5)), composite="false")
            url = f"/download/{manifest['job_id']}/all?compression={compression}"
            answer = await app.http.get(url)
            assert answer.headers["content-type"] == "application/zip"
            assert "Night drive.zip" in answer.headers["content-disposition"]
            archive = zipfile.ZipFile(io.BytesIO(answer.content))
            assert archive.testzip() is None
            kept = json.loads(archive.read("manifest.json"))
            assert kept["outputs"] == manifest["outputs"]
            for name in manifest["outputs"]:
                single = await app.http.get(f"/download/{manifest['job_id']}/{name}")
                assert archive.read(f"{name}.wav") == single.content
            sizes = {info.compress_size < info.file_size for info in archive.infolist()}
            assert (True in sizes) is (compression == "deflated")

    @pytest.mark.parametrize("compression", ["stored", "deflated"])
    async def test_head_tells_of_the_archive(self, compression: str) -> None:
        async with studio() as app:
            manifest = await processed(app, wav(song(0.5)), composite="false")
            url = f"/download/{manifest['job_id']}/all?compression={compression}"
            head, whole = await app.http.head(url), await app.http.get(url)
            assert (head.status_code, head.content) == (200, b"")
            for name in ("content-type", "content-disposition", "cache-control", "accept-ranges"):
                assert head.headers[name] == whole.headers[name]
            if compression == "stored":
                assert head.headers["content-length"] == str(len(whole.content))
            else:
                assert "content-length" not in head.headers
            assert (await app.http.head("/download/nothing/all")).status_code == 404

    async def test_a_broken_download_of_the_archive_is_resumed(self) -> None:
        async with studio() as app:
            manifest = await processed(app, wav(song(0.5)), composite="false")
            url = f"/download/{manifest['job_id']}/all"
            whole = await app.http.get(url)
            middle = len(whole.content) // 2
            asked = {"Range": f"bytes={middle}-", "If-Range": whole.headers["etag"]}
            rest = await app.http.get(url, headers=asked)
            assert rest.status_code == 206
            assert whole.content[:middle] + rest.content == whole.content
            again = await app.http.get(url, headers={"If-None-Match": whole.headers["etag"]})
            assert again.status_code == 304

    async def test_all_is_no_track(self) -> None:
        async with studio(MockSeparator(segment_delay_s=5)) as app:
            job_id = await post(app, wav(song(0.5)))
            assert problem(await app.http.get(f"/download/{job_id}/all"), 409)["type"].endswith("not-ready")
            await app.http.delete(f"/v1/jobs/{job_id}")
            await app.ended(job_id)
            problem(await app.http.get(f"/download/{job_id}/all"), 409)


class TestTroubles:
    async def test_a_stage_that_fails_stops_only_what_needs_it(self) -> None:
        async with studio(Faulty(1_000_000)) as app:
            manifest = await processed(app, wav(song(0.5)))
        states = {stage["name"]: stage["state"] for stage in manifest["stages"]}
        assert states == {
            "separation": "failed",
            "harmonic_percussive": "succeeded",
            "composite": "skipped",
            "normalisation": "succeeded",
        }
        assert manifest["status"] == "succeeded"
        assert manifest["outputs"] == [
            "harmonic",
            "percussive",
            "harmonic_normalized",
            "percussive_normalized",
        ]
        troubles = {stage["name"]: stage["error"] for stage in manifest["stages"] if stage["error"]}
        assert "a replica died" in troubles["separation"]["detail"]
        assert "vocals" in troubles["composite"]["detail"]

    async def test_where_nothing_can_be_made_the_job_fails(self) -> None:
        async with studio(Faulty(1_000_000)) as app:
            manifest = await processed(app, wav(song(0.5)), harmonic_percussive="false", composite="false")
            assert manifest["status"] == "failed"
            assert "a replica died" in manifest["error"]["detail"]
            problem(await app.http.get(f"/download/{manifest['job_id']}/all"), 409)

    async def test_another_attempt_goes_on_after_the_stages_that_are_done(self) -> None:
        """The runner dies while the composite is made; its successor neither separates nor splits again."""
        store, separator = MemoryStore(), Faulty(0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("deployments.stages.pipeline.composite.split", _never)
            async with studio(separator, store=store) as app:
                job_id = await post(app, wav(song(1.0)))

                async def is_half_done() -> bool:
                    return len((await manifest_of(app, job_id))["stages"]) == 2

                await until(is_half_done, 20.0)
                half = await manifest_of(app, job_id)
        asked = separator.count
        async with studio(separator, store=store) as app:
            await app.ended(job_id, 30.0)
            whole = await manifest_of(app, job_id)
        assert whole["status"] == "succeeded"
        assert separator.count == asked
        assert whole["stages"][:2] == half["stages"]
        assert whole["outputs"] == ALL

    async def test_cancelling_ends_it_and_keeps_nothing(self) -> None:
        async with studio(MockSeparator(segment_delay_s=0.1)) as app:
            job_id = await post(app, wav(song(60.0, 1)), composite="false")
            await until(lambda: app.worker.running == 1)
            await app.http.delete(f"/v1/jobs/{job_id}")
            assert (await app.ended(job_id))["state"] == "cancelled"

            async def is_clean() -> bool:
                return not [key for key in await app.keys() if "/blobs/" in key]

            await until(is_clean)


async def test_the_upload_goes_when_the_work_is_done() -> None:
    async with studio() as app:
        job_id = await post(app, wav(song(0.5)), composite="false")
        assert [key for key in await app.keys() if f"/blobs/source-{job_id}-" in key]
        await app.ended(job_id)

        async def is_gone() -> bool:
            return not [key for key in await app.keys() if "/blobs/source-" in key]

        await until(is_gone)


async def test_outputs_expire() -> None:
    async with studio(overrides={"process": {"outputs_s": 0.5}}) as app:
        manifest = await processed(app, wav(song(0.3)), composite="false")
        await asyncio.sleep(0.6)
        for url in (
            f"/job/{manifest['job_id']}/outputs",
            *(f"/download/{manifest['job_id']}/{name}" for name in ("all", "drums")),
        ):
            problem(await app.http.get(url), 410)
        assert (await manifest_of(app, manifest["job_id"]))["status"] == "succeeded"


async def test_progress_rises() -> None:
    async with studio(MockSeparator(segment_delay_s=0.05)) as app:
        job_id = await post(app, wav(song(40.0, 1)), composite="false", normalize="off")
        seen = [0.0]
        async with asyncio.timeout(60):
            while (found := await manifest_of(app, job_id))["status"] in ("queued", "running"):
                seen.append(found["progress"])
                await asyncio.sleep(0.02)
    assert seen == sorted(seen)
    assert len(set(seen)) > 4


async def test_a_key_is_one_job() -> None:
    async with studio() as app:
        files = {"file": ("a.wav", wav(song(0.3)))}
        headers = {"Idempotency-Key": "once"}
        answers = [await app.http.post("/process", files=files, headers=headers) for _ in range(2)]
        assert len({answer.json()["job_id"] for answer in answers}) == 1
        problem(await app.http.post("/process", files=files, headers=headers, data={"shifts": "1"}), 422)


class TestBadInput:
    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"model": "htdemucs"}, "model"),
            ({"stems": "flute"}, "stems"),
            ({"shifts": "many"}, "shifts"),
            ({"target_db": "3"}, "target_db"),
            ({"normalize": "loud"}, "normalize"),
            ({"format": "ogg"}, "format"),
            ({"misspelt": "1"}, "misspelt"),
        ],
    )
    async def test_fields_are_named(self, fields: dict[str, str], field: str) -> None:
        async with studio() as app:
            files = {"file": ("a.wav", wav(song(0.2)))}
            refused = problem(await app.http.post("/process", files=files, data=fields), 422)
            assert any(error["field"].endswith(field) for error in refused["errors"])

    async def test_a_bit_depth_that_the_format_has_not(self) -> None:
        async with studio() as app:
            files = {"file": ("a.wav", wav(song(0.2)))}
            data = {"format": "flac", "bit_depth": "32"}
            refused = problem(await app.http.post("/process", files=files, data=data), 422)
            assert "bit depth of FLAC" in refused["detail"]

    @pytest.mark.parametrize(
        ("name", "status", "said"),
        [
            ("empty", 422, "no audio"),
            ("ten milliseconds", 422, "at least 0.1 s"),
            ("six channels", 422, "channels"),
            ("a text", 415, "no audio format that is read here"),
            ("not finite", 422, "finite"),
            ("a truncated mp3", 422, "cut off"),
        ],
    )
    async def test_what_is_no_track_is_refused_at_once(
        self, name: str, status: int, said: str, tmp_path: Path
    ) -> None:
        async with studio() as app:
            files = {"file": ("a.wav", _bad(name, tmp_path))}
            refused = problem(await app.http.post("/process", files=files), status)
            assert said in refused["detail"]
            assert (await app.http.get("/v1/jobs")).json()["jobs"] == []
            assert not [key for key in await app.keys() if "/blobs/" in key]

    @pytest.mark.parametrize(
        "mix",
        [
            np.zeros((2, 22_050), np.float32),
            np.full((1, 22_050), 0.5, np.float32),
            np.full((2, 4_410), 1e-9, np.float32),
        ],
        ids=["silence", "dc", "almost nothing"],
    )
    async def test_silence_and_dc_are_tracks(self, mix: Samples) -> None:
        async with studio() as app:
            manifest = await processed(app, wav(mix))
            assert [stage["state"] for stage in manifest["stages"]] == ["succeeded"] * 4
            made = [await track(app, manifest["job_id"], name) for name in STEMS]
            np.testing.assert_allclose(np.sum(made, axis=0, dtype=np.float64), mix, atol=1e-6)
            assert all(np.isfinite(samples).all() for samples in made)

    @pytest.mark.parametrize("rate_hz", [8_000, 192_000])
    async def test_unusual_rates_come_back_as_they_were(self, rate_hz: int) -> None:
        mix = song(0.4, 2, rate_hz)
        async with studio() as app:
            manifest = await processed(app, wav(mix, rate_hz), composite="false", normalize="off")
            assert {
                output["sample_rate_hz"] for stage in manifest["stages"] for output in stage["outputs"]
            } == {rate_hz}
            made = [await track(app, manifest["job_id"], name) for name in STEMS]
        np.testing.assert_allclose(np.sum(made, axis=0, dtype=np.float64), mix, atol=1e-6)

    async def test_too_large_a_body_is_refused(self) -> None:
        async with studio(overrides={"process": {"max_bytes": 50_000}}) as app:
            files = {"file": ("a.wav", wav(song(1.0)))}
            refused = problem(await app.http.post("/process", files=files), 413)
            assert refused["limit_bytes"] == 50_000

    async def test_far_too_large_a_body_is_refused_long_before_its_end(self) -> None:
        sent_mb = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal sent_mb
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            for _ in range(510):
                sent_mb += 1
                yield bytes(1_000_000)
            yield b"\r\n--x--\r\n"

        async with studio() as app:
            headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(510_000_083)}
            answer = await app.http.post("/process", content=body(), headers=headers)
            assert problem(answer, 413)["limit_bytes"] == 500_000_000
            assert sent_mb < 100
            assert await app.keys() == set()

    async def test_too_long_a_track_is_refused(self) -> None:
        async with studio(overrides={"process": {"max_duration_s": 0.5}}) as app:
            files = {"file": ("a.wav", wav(song(1.0)))}
            assert "longer than 0.5 s" in problem(await app.http.post("/process", files=files), 422)["detail"]

    async def test_no_such_job_or_track(self) -> None:
        async with studio() as app:
            for url in ("/job/x", "/job/x/outputs", "/download/x/all", "/download/x/drums"):
                problem(await app.http.get(url), 404)
            chain = await app.upload(wav(song(0.3)))
            other = await app.branch(chain["id"], chain["root_id"])
            problem(await app.http.get(f"/job/{other['job_ids'][0]}"), 404)
            manifest = await processed(app, wav(song(0.2)), composite="false", normalize="off")
            problem(await app.http.get(f"/download/{manifest['job_id']}/flute"), 404)


async def test_the_configuration_is_public() -> None:
    async with studio() as app:
        shown = (await app.http.get("/config")).json()
    assert shown["model"] == "mock"
    assert shown["max_bytes"] == 500_000_000
    assert shown["target_db"] == -14.0


class Faulty(MockSeparator):
    """The first so many segments fail."""

    def __init__(self, broken: int) -> None:
        super().__init__()
        self.count = 0
        self._broken = broken

    async def separate(self, segment: SegmentRequest) -> Estimates:
        self.count += 1
        if self.count <= self._broken:
            raise EngineBroken("a replica died")
        return await super().separate(segment)


async def _never(*_: object) -> None:
    await asyncio.Event().wait()


def _bad(name: str, folder: Path) -> bytes:
    match name:
        case "empty":
            return wav(np.zeros((1, 0), np.float32))
        case "ten milliseconds":
            return wav(song(0.01))
        case "six channels":
            buffer = io.BytesIO()
            soundfile.write(buffer, np.zeros((44_100, 6), np.float32), RATE_HZ, format="WAV")
            return buffer.getvalue()
        case "a text":
            return b"It was a dark and stormy night; the rain fell in torrents.\n" * 40
        case "not finite":
            samples = song(0.5)
            samples[0, 100] = np.nan
            return wav(samples)
        case _:
            buffer = io.BytesIO()
            soundfile.write(buffer, song(3.0).T, RATE_HZ, format="MP3")
            return buffer.getvalue()[: len(buffer.getvalue()) // 2]
