"""Exports over HTTP: every format, regions, mixes, loudness, tags, video, packages, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import zipfile
import zlib
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
import pytest_asyncio
import soundfile
from PIL import Image

from deployments.audio.loudness import measure_loudness
from deployments.audio.samples import Samples
from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from tests.deployments.export.referee import decoded
from tests.support.clips import music
from tests.support.harness import Running, problem, running, wav
from tests.support.patience import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE_HZ = 44_100
DURATIONS_S = (2.0, 0.7, 0.6)
SAMPLES = sum(round(duration_s * RATE_HZ) for duration_s in DURATIONS_S)
TITLE = "Über / Nacht 🎵"


class Studio:
    """An application, and a committed line of an upload and two takes, each taken apart."""

    def __init__(self, app: Running, chain: dict[str, Any]) -> None:
        self.app = app
        self.chain = chain
        self.url = f"/v1/chains/{chain['id']}/export"
        self.nodes: list[str] = [node["id"] for node in chain["nodes"] if node["decision"] == "committed"]

    async def asked(self, **body: Any) -> httpx.Response:
        return await self.app.http.post(self.url, json=body)

    async def file(self, folder: Path, **body: Any) -> Path:
        answer = await self.asked(**body)
        assert answer.status_code == 200, answer.text
        path = folder / f"file.{body['format']}"
        path.write_bytes(answer.content)
        return path

    async def floats(self, **body: Any) -> Samples:
        answer = await self.asked(format="wav", bit_depth=32, **body)
        assert answer.status_code == 200, answer.text
        return np.ascontiguousarray(soundfile.read(io.BytesIO(answer.content), dtype="float32")[0].T)

    async def result(self, **body: Any) -> dict[str, Any]:
        later = await self.app.http.post(self.url, json=body, headers={"Prefer": "respond-async"})
        assert later.status_code == 202, later.text
        job = await self.app.ended(later.json()["id"])
        assert job["state"] == "succeeded", job
        result: dict[str, Any] = job["result"]
        return result


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio() -> AsyncIterator[Studio]:
    async with running({"mock": MockEngine()}, separators={"mock": MockSeparator()}) as app:
        clip = (0.5 * music(DURATIONS_S[0], RATE_HZ)).astype(np.float32)
        chain = await app.upload(wav(clip, RATE_HZ), title=TITLE)
        url, parent = f"/v1/chains/{chain['id']}/nodes", chain["root_id"]
        for duration_s in DURATIONS_S[1:]:
            made = await app.branch(
                chain["id"], parent, duration_s=duration_s, prompt="marimba / bass 🎵", takes=2, seed=5
            )
            parent = made["nodes"][0]["id"]
            for node in made["nodes"]:
                await app.finished(chain["id"], node["id"])
            await app.http.post(f"{url}/{parent}/commit")
        for node in (await app.chain(chain["id"]))["nodes"]:
            answer = await app.http.post(f"{url}/{node['id']}/stems", json={})
            await app.ended(answer.json()["job_id"])
        yield Studio(app, await app.chain(chain["id"]))


FACTS = [
    ("wav", {"bit_depth": 16}, "pcm_s16le", 44_100),
    ("wav", {}, "pcm_s24le", 44_100),
    ("wav", {"bit_depth": 32, "sample_rate_hz": 48_000}, "pcm_f32le", 48_000),
    ("flac", {"sample_rate_hz": 32_000}, "flac", 32_000),
    ("aiff", {"bit_depth": 16}, "pcm_s16be", 44_100),
    ("mp3", {}, "mp3float", 44_100),
    ("mp3", {"bitrate": "V0", "sample_rate_hz": 48_000}, "mp3float", 48_000),
    ("opus", {"bitrate": 128}, "opus", 48_000),
    ("m4a", {}, "aac", 44_100),
]


@pytest.mark.parametrize(("name", "options", "codec", "rate_hz"), FACTS)
async def test_every_format_is_what_it_says_and_as_long_as_the_line(
    studio: Studio, name: str, options: dict[str, Any], codec: str, rate_hz: int, tmp_path: Path
) -> None:
    path = await studio.file(tmp_path, format=name, **options)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate, stream.channels) == (codec, rate_hz, 2)
        said = {**container.metadata, **stream.metadata}
    said = {key.lower(): value for key, value in said.items()}
    assert said["title"] == TITLE
    # A WAV's comment is hidden behind the description of its `bext` chunk in what ffmpeg shows.
    assert studio.nodes[-1] in json.dumps(said) or studio.nodes[-1].encode() in path.read_bytes()
    assert decoded(path).shape == (2, round(SAMPLES * rate_hz / RATE_HZ))


async def test_a_wav_tells_its_seams_and_where_it_lies(studio: Studio, tmp_path: Path) -> None:
    data = (await studio.file(tmp_path, format="wav", **{"from": studio.nodes[1]})).read_bytes()
    for chunk in (b"bext", b"cue ", b"labl", b"iXML"):
        assert chunk in data
    reference = data.index(b"bext") + 8 + 338
    assert int.from_bytes(data[reference : reference + 8], "little") == round(2.0 * RATE_HZ)
    assert b"marimba / bass _" in data  # these names have no charset


async def test_a_region_is_cut_from_the_line(studio: Studio) -> None:
    line = await studio.floats()
    first, second = round(2.0 * RATE_HZ), round(2.7 * RATE_HZ)
    for region, expected in (
        ({"from": 0.25, "to": 2.25}, line[:, round(0.25 * RATE_HZ) : round(2.25 * RATE_HZ)]),
        ({"from": studio.nodes[1]}, line[:, first:]),
        ({"to": studio.nodes[0]}, line[:, :first]),
        ({"from": studio.nodes[1], "to": studio.nodes[1]}, line[:, first:second]),
        ({"node_id": studio.nodes[0]}, None),
    ):
        made = await studio.floats(**region)
        if expected is None:
            assert made.shape[1] == first
        else:
            assert np.array_equal(made, expected), region


async def test_fades_and_a_tail(studio: Studio) -> None:
    line = await studio.floats()
    made = await studio.floats(fade_in_s=0.1, fade_out_s=0.2, tail_s=0.5)
    assert made.shape[1] == SAMPLES + RATE_HZ // 2
    assert not made[:, SAMPLES:].any()
    assert np.array_equal(made[:, 4_410 : SAMPLES - 8_820], line[:, 4_410 : SAMPLES - 8_820])
    assert np.abs(made[:, :50]).max() < 1e-3


async def test_a_mix_of_all_stems_is_the_line_and_of_some_is_less(studio: Studio) -> None:
    line = await studio.floats()
    every = ("drums", "bass", "other", "vocals", "residual")
    half = await studio.floats(mix=dict.fromkeys(every, -20 * np.log10(2.0)))
    assert np.abs(half - line / 2).max() < 1e-6
    some = await studio.floats(mix={"drums": 0.0, "residual": 0.0})
    # The mock's drums are three eighths of everything but a constant, which the residual has.
    inside = slice(1_000, round(1.8 * RATE_HZ))
    assert np.ptp(some[:, inside] - line[:, inside] * 0.375, axis=1).max() < 1e-6


@pytest.mark.parametrize("form", ["wav", "mp3", "m4a", "opus"])
async def test_loudness_reaches_its_target_also_when_it_is_decoded(
    studio: Studio, form: str, tmp_path: Path
) -> None:
    wanted = {"format": form, "loudness_lufs": -14.0, "true_peak_dbtp": -2.0}
    report = (await studio.result(**wanted))["loudness"]
    assert report["target_lufs"] == -14.0
    path = await studio.file(tmp_path, **wanted)
    rate_hz = soundfile.info(path).samplerate if form == "wav" else 48_000 if form == "opus" else RATE_HZ
    heard = measure_loudness(decoded(path), rate_hz)
    assert heard.true_peak_dbtp <= -2.0 + 0.05
    assert heard.integrated_lufs == pytest.approx(report["output_lufs"], abs=0.3)
    assert abs(report["output_lufs"] + 14.0) < 0.3 or report["limited_db"] > 5
    if form != "wav":
        assert report["decoded"]["true_peak_dbtp"] == pytest.approx(heard.true_peak_dbtp, abs=0.1)


def picture(width: int = 80, height: int = 50, form: str = "PNG") -> str:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(file, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


async def test_tags_and_a_cover(studio: Studio, tmp_path: Path) -> None:
    tags = {"artist": "A / B", "album": "日本", "date": "2026", "key": "F# minor", "bpm": 97.6}
    body = {"format": "flac", "title": "Other", "tags": tags, "cover": picture()}
    path = await studio.file(tmp_path, **body)
    with av.open(str(path)) as container:
        said = {key.lower(): value for key, value in container.metadata.items()}
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert {key: said[key] for key in ("title", "artist", "album", "key", "bpm")} == {
        "title": "Other",
        "artist": "A / B",
        "album": "日本",
        "key": "F# minor",
        "bpm": "97.6",
    }
    assert (said["license"], said["segue_chain"]) == ("MIT", studio.chain["id"])
    assert said["segue_nodes"] == ",".join(studio.nodes)
    assert shown.shape == (50, 80, 3)


@pytest.mark.parametrize(("look", "loop"), [("waveform", False), ("spectrogram", True)])
async def test_a_video(studio: Studio, look: str, loop: bool, tmp_path: Path) -> None:
    body = {"format": "mp4", "picture": look, "size": "1080x1080", "fps": 10, "cover": picture(form="WEBP")}
    path = await studio.file(tmp_path, **body, loop=loop)
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.width, video.height) == ("h264", 1080, 1080)
        assert (video.pix_fmt, video.average_rate, video.frames) == ("yuv420p", Fraction(10), 33)
        assert len(container.streams.audio) == (0 if loop else 1)
        assert container.metadata["title"] == TITLE
    if not loop:
        assert decoded(path).shape == (2, SAMPLES)


async def test_a_package_adds_up(studio: Studio, tmp_path: Path) -> None:
    result = await studio.result(format="daw")
    assert result["filename"].endswith(".zip")
    answer = await studio.app.http.get(f"/v1/exports/{result['export_id']}/file")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
        names = set(archive.namelist())
    assert {"line.dawproject", "line.rpp", "tempo.mid", "mix.wav", "chain.json", "README.txt"} <= names

    def steps(name: str) -> np.ndarray:
        return soundfile.read(tmp_path / name, dtype="int32", always_2d=True)[0] >> 8

    mix = steps("mix.wav")
    clips = sorted(name for name in names if name.startswith("clips/"))
    stems = sorted(name for name in names if name.startswith("stems/"))
    takes = sorted(name for name in names if name.startswith("takes/"))
    assert (len(clips), len(stems), len(takes)) == (3, 5, 5)
    assert np.array_equal(np.concatenate([steps(name) for name in clips]), mix)
    assert np.array_equal(sum(steps(name).astype(np.int64) for name in stems), mix)
    line = (await studio.floats()).T
    assert np.abs(mix / 2**23 - line).max() <= 2.0**-23
    chain = json.loads((tmp_path / "chain.json").read_text())
    assert chain["line"] == studio.nodes
    assert "blobs/" not in json.dumps(chain)
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert [node["node_id"] for node in provenance["nodes"]] == studio.nodes


async def test_the_same_request_is_one_job_and_a_key_is_one_request(studio: Studio) -> None:
    body = {"format": "m4a", "cover": picture(), "tail_s": 0.1}
    jobs = {(await studio.result(**body))["export_id"] for _ in range(2)}
    assert len(jobs) == 1
    key = {"Idempotency-Key": "once", "Prefer": "respond-async"}
    first = await studio.app.http.post(studio.url, json=body, headers=key)
    other = await studio.app.http.post(studio.url, json={**body, "tail_s": 0.2}, headers=key)
    assert first.status_code == 202
    problem(other, 422)
    await studio.app.rest()
    assert not any("/blobs/source-" in name for name in await studio.app.keys())


async def test_the_choices_are_listed(studio: Studio) -> None:
    listed = (await studio.app.http.get("/v1/config")).json()["export"]
    assert listed["formats"] == ["wav", "flac", "aiff", "mp3", "opus", "m4a", "mp4", "daw"]
    mp3 = next(form for form in listed["format_options"] if form["name"] == "mp3")
    assert mp3["bitrates"] == ["320k", "v0"]
    assert "1080x1920" in listed["video"]["sizes"]


def bomb() -> str:
    """A PNG that says it has 90,000 × 90,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = (90_000).to_bytes(4, "big") * 2
    data = chunk(b"IHDR", size + bytes([8, 2, 0, 0, 0])) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + data).decode()


BAD = [
    ({"format": "wma"}, "format"),
    ({}, "format"),
    ({"format": "wav", "bitrate": "320k"}, "bitrate"),
    ({"format": "mp3", "bitrate": "lots"}, "bitrate"),
    ({"format": "mp3", "bit_depth": 16}, "bit_depth"),
    ({"format": "mp4", "bit_depth": 16}, "bit_depth"),
    ({"format": "wav", "from": 1.0, "to": 1.0}, "from"),
    ({"format": "wav", "from": 2.0, "to": 1.0}, "from"),
    ({"format": "wav", "from": -1}, "from"),
    ({"format": "wav", "to": 99}, "to"),
    ({"format": "wav", "from": "no such node"}, "from"),
    ({"format": "wav", "fade_in_s": 2, "fade_out_s": 2}, "fade_out_s"),
    ({"format": "wav", "fade_in_s": -1}, "fade_in_s"),
    ({"format": "wav", "tail_s": 1000}, "tail_s"),
    ({"format": "wav", "loudness_lufs": 3}, "loudness_lufs"),
    ({"format": "wav", "true_peak_dbtp": 3}, "true_peak_dbtp"),
    ({"format": "wav", "mix": {}}, "mix"),
    ({"format": "wav", "mix": {"trumpets": 0}}, "mix"),
    ({"format": "wav", "mix": {"drums": 500}}, "mix.drums"),
    ({"format": "wav", "picture": "waveform"}, "picture"),
    ({"format": "wav", "loop": True}, "loop"),
    ({"format": "mp4", "size": "7x7"}, "size"),
    ({"format": "mp4", "fps": 1000}, "fps"),
    ({"format": "mp4", "picture": "oil painting"}, "picture"),
    ({"format": "daw", "loudness_lufs": -14}, "loudness_lufs"),
    ({"format": "wav", "cover": picture()}, "cover"),
    ({"format": "mp3", "cover": "https://example.com/x.png"}, "cover"),
    ({"format": "mp3", "cover": "data:image/png;base64,@@@"}, "cover"),
    ({"format": "mp3", "cover": "data:image/png;base64,aGVsbG8="}, "cover"),
    ({"format": "mp3", "cover": bomb()}, "cover"),
    ({"format": "mp3", "tags": {"bpm": 0}}, "tags.bpm"),
    ({"format": "mp3", "tags": {"mood": "blue"}}, "tags.mood"),
    ({"format": "mp3", "title": "x" * 201}, "title"),
]


@pytest.mark.parametrize(("body", "field"), BAD, ids=[f"{body}"[:60] for body, _ in BAD])
async def test_what_is_refused_names_its_field(studio: Studio, body: dict[str, Any], field: str) -> None:
    before = await studio.app.keys()
    told = problem(await studio.app.http.post(studio.url, json=body), 422)
    assert field in [error["field"].removeprefix("body.") for error in told["errors"]], told
    assert await studio.app.keys() == before


async def test_other_refusals(studio: Studio) -> None:
    http = studio.app.http
    problem(await http.post(studio.url, content=b"format=wav"), 415)
    problem(await http.post(studio.url, json={"format": "wav", "node_id": "unknown"}), 404)
    huge = {"format": "mp3", "cover": "data:image/png;base64," + "A" * 15_000_000}
    problem(await http.post(studio.url, json=huge), 413)
    bare = await studio.app.upload(wav(music(0.3, RATE_HZ), RATE_HZ))
    answer = await http.post(f"/v1/chains/{bare['id']}/export", json={"format": "wav", "mix": {"drums": 0}})
    assert problem(answer, 409)["node_ids"] == [bare["root_id"]]


async def test_a_video_is_cancelled_while_ffmpeg_does_not_read(tmp_path: Path) -> None:
    program, began = tmp_path / "ffmpeg", tmp_path / "began"
    program.write_text(f"#!/bin/sh\ntouch {began}\nexec sleep 600\n")
    program.chmod(0o755)
    async with running({"mock": MockEngine()}, overrides={"export": {"ffmpeg_path": str(program)}}) as app:
        chain = await app.upload(wav(music(1.0, RATE_HZ), RATE_HZ))
        later = await app.http.post(
            f"/v1/chains/{chain['id']}/export", json={"format": "mp4"}, headers={"Prefer": "respond-async"}
        )
        await until(lambda: began.exists())
        await asyncio.sleep(0)
        await app.http.delete(f"/v1/jobs/{later.json()['id']}")
        assert (await app.ended(later.json()["id"]))["state"] == "cancelled"
        await app.rest()
