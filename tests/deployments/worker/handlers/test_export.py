"""Export jobs: made once, cancelled with their ffmpeg, and failed without a word about this machine."""

from __future__ import annotations

import asyncio
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from deployments.export.ffmpeg import find_ffmpeg
from deployments.export.plan import ExportOptions
from deployments.export.tags import Tags
from deployments.specs.export import ExportSpec
from deployments.stages.export.order import ExportOrder, plain_order
from deployments.stages.export.stage import ExportStage
from storage import paths
from storage.domain.jobs import JobState, request_cancel
from storage.domain.tree import spine
from storage.repositories.exports import Exports
from storage.repositories.jobs import JobKey
from tests.deployments.worker.generators import RATE_HZ
from tests.deployments.worker.lab import CHAIN, TENANT, Lab, dead_claim, die, queued, working
from tests.deployments.worker.wire import Wire
from tests.support.patience import until

OPTIONS = ExportOptions("wav", RATE_HZ, 1, 16, tags=Tags(title="Sketch"))


@pytest.fixture
def lab() -> Lab:
    return Lab()


class FakeFfmpeg:
    """A program in ffmpeg's place; every run leaves its pid in a file of its own."""

    def __init__(self, folder: Path, body: str) -> None:
        self._runs = folder / "runs"
        self._runs.mkdir()
        self.path = folder / "ffmpeg"
        self.path.write_text(f'#!/bin/sh\ntouch "{self._runs}/$$"\n{body}\n')
        self.path.chmod(0o755)

    @property
    def pids(self) -> list[int]:
        return [int(run.name) for run in self._runs.iterdir()]

    @property
    def runs(self) -> int:
        return len(self.pids)


def _real(folder: Path) -> FakeFfmpeg:
    return FakeFfmpeg(folder, f'exec "{find_ffmpeg()}" "$@"')


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def _order(lab: Lab, filename: str = "sketch.wav", options: ExportOptions = OPTIONS) -> ExportOrder:
    chain = await lab.chains.load(TENANT, CHAIN)
    return plain_order([node.audio for node in spine(chain) if node.audio is not None], options, filename)


async def _asked(lab: Lab, name: str = "one", filename: str = "sketch.wav") -> JobKey:
    await lab.jobs.create(queued(name, ExportSpec(CHAIN, await _order(lab, filename))))
    return JobKey(TENANT, name)


async def test_an_export_is_made_and_told_in_the_job(lab: Lab) -> None:
    await lab.upload()
    await _asked(lab)
    async with working(lab.worker()):
        job = await lab.ended()
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)
    assert job.result is not None
    export = await Exports(lab.store).find(TENANT, job.result["export_id"])
    assert export is not None
    assert job.result == {
        "export_id": (await _order(lab)).plan().hash(),
        "filename": "sketch.wav",
        "media_type": "audio/wav",
        "size_bytes": export.blob.size_bytes,
        "duration_s": 0.2,
        "peak_dbfs": export.peak_dbfs,
        "clipped_samples": 0,
        "sample_rate_hz": RATE_HZ,
        "loudness": None,
    }
    sound, rate_hz = soundfile.read(io.BytesIO(await lab.blobs.get(TENANT, export.blob)))
    assert (len(sound), rate_hz) == (1600, RATE_HZ)


async def test_a_record_of_an_older_version_fails_in_words(lab: Lab) -> None:
    await lab.upload()
    job = queued("one", ExportSpec(CHAIN, await _order(lab)))
    await lab.jobs.create(replace(job, params={"chain_id": CHAIN, "line": [], "encode": {}}))
    async with working(lab.worker()):
        job = await lab.ended()
    assert job.error is not None
    assert (job.state, job.attempt, job.error.code) == (JobState.FAILED, 1, "export-impossible")


async def test_the_same_plan_asked_twice_runs_ffmpeg_once(lab: Lab, tmp_path: Path) -> None:
    ffmpeg = _real(tmp_path)
    await lab.upload()
    await _asked(lab, "one", "first.wav")
    async with working(lab.worker(ffmpeg=ffmpeg.path)):
        first = await lab.ended("one")
        await _asked(lab, "two", "second.wav")
        second = await lab.ended("two")
    assert ffmpeg.runs == 1
    assert first.result == second.result
    assert second.state is JobState.SUCCEEDED


async def test_a_file_that_was_made_before_its_runner_died_is_not_made_again(
    lab: Lab, tmp_path: Path
) -> None:
    ffmpeg = _real(tmp_path)
    await lab.upload()
    stage = ExportStage(lab.blobs, Exports(lab.store), find_ffmpeg(), 30.0)
    made = await stage.run(TENANT, await _order(lab))
    await _asked(lab)
    await lab.jobs.change(TENANT, "one", dead_claim)
    async with working(lab.worker(ffmpeg=ffmpeg.path)):
        job = await lab.ended()
    assert ffmpeg.runs == 0
    assert (job.state, job.fence) == (JobState.SUCCEEDED, 2)
    assert job.result is not None
    assert job.result["export_id"] == made.id


async def test_cancelling_kills_ffmpeg(lab: Lab, tmp_path: Path) -> None:
    ffmpeg = FakeFfmpeg(tmp_path, "exec sleep 600")
    await lab.upload()
    key = await _asked(lab)
    worker = lab.worker(ffmpeg=ffmpeg.path, watch_s=60)
    async with working(worker):
        worker.submit(key)
        await until(lambda: ffmpeg.runs == 1)
        await lab.jobs.change(TENANT, "one", request_cancel)
        worker.look_at(key)
        job = await lab.ended()
    assert job.state is JobState.CANCELLED
    assert not _is_alive(ffmpeg.pids[0])


async def test_a_stop_kills_ffmpeg_and_another_worker_makes_the_file(lab: Lab, tmp_path: Path) -> None:
    ffmpeg = FakeFfmpeg(tmp_path, "exec sleep 600")
    await lab.upload()
    await _asked(lab)
    first = lab.worker(ffmpeg=ffmpeg.path)
    first.start()
    await until(lambda: ffmpeg.runs == 1)
    await first.stop()
    assert not _is_alive(ffmpeg.pids[0])
    async with working(lab.worker()):
        job = await lab.ended()
    assert (job.state, job.attempt, job.fence) == (JobState.SUCCEEDED, 1, 2)


async def test_an_export_whose_runner_died_is_made_by_another(lab: Lab, tmp_path: Path) -> None:
    ffmpeg, wire = FakeFfmpeg(tmp_path, "exec sleep 600"), Wire(lab.store)
    await lab.upload()
    await _asked(lab)
    first = lab.worker(ffmpeg=ffmpeg.path, store=wire, lease_s=1.5)
    first.start()
    await until(lambda: ffmpeg.runs == 1)
    await die(first, wire)
    async with working(lab.worker()):
        job = await lab.ended()
    assert (job.state, job.attempt, job.fence) == (JobState.SUCCEEDED, 2, 2)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('echo "cannot open $PWD/line.wav in /tmp/segue-export-x" >&2; exit 3', "ffmpeg-failed"),
        ("exec sleep 600", "ffmpeg-timed-out"),
    ],
    ids=["fails", "hangs"],
)
async def test_a_failing_ffmpeg_fails_the_job_at_once_and_names_no_path(
    lab: Lab, tmp_path: Path, body: str, code: str
) -> None:
    ffmpeg = FakeFfmpeg(tmp_path, body)
    await lab.upload()
    await _asked(lab)
    async with working(lab.worker(ffmpeg=ffmpeg.path, ffmpeg_timeout_s=3.0)):
        job = await lab.ended()
    assert ffmpeg.runs == 1
    assert job.error is not None
    assert (job.state, job.attempt, job.error.code) == (JobState.FAILED, 1, code)
    assert "/" not in job.error.detail


async def test_an_ffmpeg_that_is_gone_fails_the_job(lab: Lab, tmp_path: Path) -> None:
    await lab.upload()
    await _asked(lab)
    async with working(lab.worker(ffmpeg=tmp_path / "nothing-here")):
        job = await lab.ended()
    assert job.error is not None
    assert (job.state, job.error.code) == (JobState.FAILED, "ffmpeg-missing")
    assert str(tmp_path) not in job.error.detail


async def test_audio_that_is_gone_fails_the_export(lab: Lab) -> None:
    await lab.upload()
    await _asked(lab)
    await lab.store.delete(paths.blob(TENANT, (await _order(lab)).nodes[0].audio.blob.name))
    async with working(lab.worker()):
        job = await lab.ended()
    assert job.error is not None
    assert (job.state, job.attempt, job.error.code) == (JobState.FAILED, 1, "blob-corrupt")


async def test_a_cancelled_export_whose_runners_all_died_is_cancelled(lab: Lab) -> None:
    await lab.upload()
    await _asked(lab)
    for _ in range(3):
        await lab.jobs.change(TENANT, "one", dead_claim)
    await lab.jobs.change(TENANT, "one", request_cancel)
    async with working(lab.worker(lease_s=0.2)):
        assert (await lab.ended()).state is JobState.CANCELLED


async def test_an_export_that_lost_its_claim_does_not_end_the_job(lab: Lab, tmp_path: Path) -> None:
    """Its claim is raised by another while ffmpeg runs: the file may be kept, the record is the other's."""
    go = tmp_path / "go"
    ffmpeg = FakeFfmpeg(tmp_path, f'while [ ! -e "{go}" ]; do sleep 0.02; done; exec "{find_ffmpeg()}" "$@"')
    await lab.upload()
    key = await _asked(lab)
    worker = lab.worker(ffmpeg=ffmpeg.path, lease_s=30, sweep_s=60)
    async with working(worker):
        worker.submit(key)
        await until(lambda: ffmpeg.runs == 1)
        other = await lab.jobs.change(TENANT, "one", dead_claim)
        await asyncio.to_thread(go.touch)
        await until(lambda: worker.running == 0)
        assert await lab.job() == other
        assert worker.is_alive()
