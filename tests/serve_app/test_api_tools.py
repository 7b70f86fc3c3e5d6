"""The stateless tools over HTTP: their answers, each of their limits, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.audio.wav import decode_wav
from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.analysis.protocol import AnalysisRequest
from deployments.engines.common.errors import EngineBroken, EngineBusy
from deployments.engines.music.mock import MockEngine
from tests.support.harness import Running, listening, problem, running, tone, wav
from tests.support.patience import until
from tests.support.scripted_engine import ScriptedEngine


@asynccontextmanager
async def tools(
    engine: MockEngine | None = None, analyser: MockAnalyser | None = None, **settings: Any
) -> AsyncIterator[Running]:
    async with running(
        {"mock": engine or MockEngine()},
        analyser=analyser or MockAnalyser(),
        overrides={"tools": settings},
        work=False,
    ) as app:
        yield app


def clip(duration_s: float = 1.0) -> dict[str, tuple[str, bytes]]:
    return {"file": ("clip.wav", wav(tone(duration_s)))}


class TestAnalyze:
    async def test_it_has_the_shape_its_clients_know(self) -> None:
        async with tools() as app:
            answer = await app.http.post("/analyze", files=clip(2.0))
            assert answer.status_code == 200, answer.text
            said = answer.json()
            assert said["bpm"] == 120
            assert said["key"] == "A minor"
            assert {"valence", "arousal", "label"} <= said["emotion"].keys()
            assert len(said["energy_curve"]) * said["energy_hop_s"] == pytest.approx(2.0)
            assert said["style_id"] == "ambient"
            assert "120 bpm" in said["prompt"]
            assert said["method"] == "mock"

    async def test_the_melody_can_be_left_out(self) -> None:
        async with tools() as app:
            for asked in ({"data": {"melody": "false"}}, {"params": {"melody": "0"}}):
                said = (await app.http.post("/analyze", files=clip(), **asked)).json()
                assert said["melody"] is None
                assert said["bpm"] == 120
            for asked in ({}, {"data": {"melody": ""}}, {"data": {"melody": "true"}}):
                said = (await app.http.post("/analyze", files=clip(), **asked)).json()
                assert said["melody"]["f0_hz"][0] == 440
            refused = await app.http.post("/analyze", files=clip(), data={"melody": "loudly"})
            assert "melody" in str(problem(refused, 422)["errors"])

    async def test_nothing_is_kept(self) -> None:
        async with tools() as app:
            await app.http.post("/analyze", files=clip())
            assert await app.keys() == set()

    async def test_what_is_kept_where_logs_are_on(self, tmp_path: Path) -> None:
        async with tools(logs=True, logs_folder=str(tmp_path / "logs")) as app:
            await app.http.post("/compose", files=clip(), data={"duration": "1"})
            (kept,) = (tmp_path / "logs").iterdir()
            assert sorted(file.name for file in kept.iterdir()) == ["input", "output.wav", "request.json"]

    @pytest.mark.parametrize("route", ["/analyze", "/compose"])
    async def test_too_long_too_large_too_short_and_no_audio(self, route: str) -> None:
        async with tools(max_bytes=6_000_000, max_input_s=10.0) as app:
            post = app.http.post
            assert "10" in problem(await post(route, files=clip(10.5)), 422)["detail"]
            assert problem(await post(route, files=clip(20.0)), 413)["limit_bytes"] == 6_000_000
            problem(await post(route, files=clip(0.05)), 422)
            problem(await post(route, files={"file": ("clip.wav", b"these are words" * 100)}), 415)
            problem(await post(route, data={"no": "file"}), 415)
            assert (await post(route, files=clip(0.2))).status_code == 200

    async def test_where_there_is_no_analyser_it_says_so(self) -> None:
        async with running({"mock": MockEngine()}, work=False) as app:
            assert problem(await app.http.post("/analyze", files=clip()), 404)["type"].endswith("no-analyser")


class TestGenerate:
    async def test_a_stereo_wav_with_a_tail_that_ends_in_silence(self) -> None:
        async with tools() as app:
            wanted = {"prompt": "calm piano", "bpm": 96, "key": "f#m", "duration": 2, "seed": 7}
            answer = await app.http.post("/generate", json=wanted)
            assert answer.headers["content-type"] == "application/octet-stream"
            samples, rate_hz = decode_wav(answer.content)
            assert (samples.shape, rate_hz) == ((2, round(2.3 * 32_000)), 32_000)
            assert answer.headers["x-segue-loop-samples"] == "64000"
            assert answer.headers["x-segue-prompt"] == "calm piano, 96 bpm, F# minor"
            assert answer.headers["x-segue-seed"] == "7"
            kept_to = json.loads(answer.headers["x-segue-adherence"])
            assert (kept_to["bpm_asked"], kept_to["bpm_heard"], kept_to["bpm_score"]) == (96, 120, 0.0)
            assert np.abs(samples[:, :64_000]).max() > 0
            assert not samples[:, -1].any()
            again = await app.http.post("/generate", json=wanted)
            assert again.content == answer.content

    @pytest.mark.parametrize(
        ("field", "value"),
        [("duration", 31), ("duration", 0.5), ("bpm", 1000), ("key", "H dur"), ("seed", -1), ("seed", 2**32)],
    )
    async def test_what_is_out_of_range_is_named(self, field: str, value: Any) -> None:
        async with tools() as app:
            said = problem(await app.http.post("/generate", json={"prompt": "x", field: value}), 422)
            assert said["errors"][0]["field"] == field

    async def test_a_deadline_ends_the_work(self) -> None:
        engine = ScriptedEngine(step_delay_s=0.05)
        async with tools(engine, deadline_s=0.2) as app:
            problem(await app.http.post("/generate", json={"prompt": "x", "duration": 5}), 504)
            assert len(engine.requests) == 1
            await until(lambda: engine.running == 0)

    async def test_a_client_that_hangs_up_ends_its_work(self) -> None:
        engine = ScriptedEngine(step_delay_s=0.3)
        async with tools(engine) as app, listening(app.api) as http:
            asking = asyncio.create_task(http.post("/generate", json={"prompt": "x", "duration": 5}))
            await until(lambda: engine.running == 1)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await until(lambda: engine.running == 0)

    async def test_eight_at_once_and_no_more(self) -> None:
        engine = ScriptedEngine(step_delay_s=0.05)
        async with tools(engine, concurrent=8) as app:
            asked = [app.http.post("/generate", json={"prompt": "x", "duration": 1}) for _ in range(10)]
            answers = await asyncio.gather(*asked)
            assert sorted(answer.status_code for answer in answers) == [200] * 8 + [429] * 2
            refused = next(answer for answer in answers if answer.status_code == 429)
            assert int(refused.headers["retry-after"]) > 0

    @pytest.mark.parametrize(("error", "status"), [(EngineBusy("full"), 429), (EngineBroken("gone"), 503)])
    async def test_a_model_that_fails_is_a_problem_to_try_again(
        self, error: Exception, status: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(self: MockAnalyser, request: AnalysisRequest) -> Analysis:
            raise error

        monkeypatch.setattr(MockAnalyser, "analyse", fail)
        async with tools() as app:
            answer = await app.http.post("/analyze", files=clip())
            problem(answer, status)
            assert int(answer.headers["retry-after"]) > 0


class TestCompose:
    async def test_what_is_heard_becomes_the_prompt(self) -> None:
        async with tools() as app:
            answer = await app.http.post("/compose", files=clip(), data={"duration": "1.5", "seed": "3"})
            assert answer.status_code == 200, answer.text
            samples, rate_hz = decode_wav(answer.content)
            assert samples.shape == (2, round(1.8 * rate_hz))
            assert "120 bpm" in answer.headers["x-segue-prompt"]
            assert "A minor" in answer.headers["x-segue-prompt"]

    async def test_wishes_go_before_what_is_heard_as_form_or_query(self) -> None:
        async with tools() as app:
            form = {"bpm": "90", "key": "Bb", "style": "funk", "prompt": "with brass", "duration": "1"}
            by_form = await app.http.post("/compose", files=clip(), data=form)
            by_query = await app.http.post("/compose", files=clip(), params=form)
            for answer in (by_form, by_query):
                told = answer.headers["x-segue-prompt"]
                assert told.startswith("with brass")
                assert "funk" in told
                assert "90 bpm" in told
                assert "Bb major" in told

    async def test_a_wish_out_of_range_is_named(self) -> None:
        async with tools() as app:
            said = problem(await app.http.post("/compose", files=clip(), data={"duration": "60"}), 422)
            assert said["errors"][0]["field"] == "duration"


class TestContinue:
    @pytest.fixture
    def shared(self, tmp_path: Path) -> Path:
        folder = tmp_path / "shared"
        (folder / "songs").mkdir(parents=True)
        (folder / "songs" / "clip.wav").write_bytes(wav(tone(3.0, 44_100)))
        (tmp_path / "secret.wav").write_bytes(wav(tone(1.0)))
        return folder

    async def test_the_mock_gives_a_copy_beside_the_file(self, shared: Path) -> None:
        async with tools(folder=str(shared)) as app:
            source = shared / "songs" / "clip.wav"
            wanted = {"audio_path": str(source), "prompt": "on", "duration_s": 5}
            answer = await app.http.post("/continue", json=wanted)
            assert answer.status_code == 200, answer.text
            made = Path(answer.json()["audio_path"])
            assert made.parent == source.parent
            assert made != source
            assert read(made) == read(source)
            assert answer.json()["duration_s"] == 3.0

    async def test_a_model_goes_on_in_the_files_own_format(self, shared: Path) -> None:
        engine = ScriptedEngine(facts={"engine": "segue"})
        async with tools(engine, folder=str(shared)) as app:
            wanted = {"audio_path": "songs/clip.wav", "duration_s": 5, "prompt_duration_s": 2}
            answer = await app.http.post("/continue", json=wanted)
            assert answer.status_code == 200, answer.text
            samples, rate_hz = decode_wav(read(shared / answer.json()["audio_path"]))
            assert (samples.shape, rate_hz) == ((2, 5 * 44_100), 44_100)
            assert answer.json()["duration_s"] == 5.0
            assert engine.requests[0].context.shape[1] / 32_000 == pytest.approx(2.0)
            assert [file.name for file in (shared / "songs").iterdir() if file.name.startswith(".")] == []

    @pytest.mark.parametrize(
        "path",
        ["../secret.wav", "songs/../../secret.wav", "/etc/passwd", "songs/link.wav", "away/secret.wav", "."],
    )
    async def test_nothing_outside_the_folder_is_reached(self, path: str, shared: Path) -> None:
        (shared / "songs" / "link.wav").symlink_to(shared.parent / "secret.wav")
        (shared / "away").symlink_to(shared.parent)
        before = listing(shared)
        async with tools(folder=str(shared)) as app:
            answer = await app.http.post("/continue", json={"audio_path": path})
            assert answer.status_code in (403, 404), answer.text
            assert str(shared) not in answer.text
        assert listing(shared) == before

    async def test_what_is_no_audio_file(self, shared: Path) -> None:
        (shared / "words.wav").write_text("words")
        os.mkfifo(shared / "pipe.wav")
        async with tools(folder=str(shared)) as app:
            for path, status in (("words.wav", 415), ("pipe.wav", 404), ("songs", 404), ("none.wav", 404)):
                problem(await app.http.post("/continue", json={"audio_path": path}), status)

    async def test_it_is_off_until_a_folder_is_named(self) -> None:
        async with tools() as app:
            said = problem(await app.http.post("/continue", json={"audio_path": "a.wav"}), 403)
            assert said["type"].endswith("continue-off")

    @pytest.mark.parametrize(("field", "value"), [("duration_s", 4), ("duration_s", 31), ("cfg_coef", 50)])
    async def test_what_is_out_of_range_is_named(self, field: str, value: float, shared: Path) -> None:
        async with tools(folder=str(shared)) as app:
            answer = await app.http.post("/continue", json={"audio_path": "songs/clip.wav", field: value})
            assert problem(answer, 422)["errors"][0]["field"] == field


def read(path: Path) -> bytes:
    return path.read_bytes()


def listing(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))
