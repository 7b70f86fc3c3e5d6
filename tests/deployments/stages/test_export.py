"""Exports: a file of the whole line, made once for each plan, and the same bytes wherever it is made."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from deployments.audio.samples import Samples
from deployments.export.ffmpeg import FfmpegFailed, FfmpegMissing, find_ffmpeg
from deployments.export.plan import ExportOptions, download_options
from deployments.export.tags import Tags
from deployments.stages.export.order import ExportOrder, plain_order
from deployments.stages.export.stage import ExportStage
from storage import paths
from storage.domain.model import NodeAudio
from storage.repositories.blobs import BlobCorrupt, Blobs
from storage.repositories.exports import Export, Exports
from storage.stores.local_folder import LocalFolderStore
from tests.deployments.stages.studio import NOW, TENANT, SignalGenerator, Studio, chirp, noise, sampled, tone

RATE_HZ = 44_100
WAV = ExportOptions("wav", RATE_HZ, 2, 24)

Line = Sequence[NodeAudio]


@pytest.fixture
def studio() -> Studio:
    return Studio()


async def _studio_line(studio: Studio) -> Line:
    await studio.upload(sampled(chirp, 0.0, RATE_HZ, RATE_HZ, 2), RATE_HZ)
    await studio.branch(SignalGenerator(chirp, begins_s=1.0), 0.7)
    return studio.audio_to("take")


def _stage(studio: Studio, ffmpeg: Path | None = None) -> ExportStage:
    return ExportStage(studio.blobs, Exports(studio.store), ffmpeg or find_ffmpeg(), 30.0, clock=lambda: NOW)


def _order(line: Line, options: ExportOptions, filename: str | None = None) -> ExportOrder:
    return plain_order(line, options, filename or f"sketch{options.form.suffix}")


async def _export(studio: Studio, line: Line, encode: ExportOptions) -> Export:
    return await _stage(studio).run(TENANT, _order(line, encode))


async def _heard(studio: Studio, export: Export) -> tuple[Samples, soundfile._SoundFileInfo]:
    data = await studio.blobs.get(TENANT, export.blob)
    samples, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return np.ascontiguousarray(samples.T), soundfile.info(io.BytesIO(data))


@pytest.mark.parametrize(
    ("encode", "subtype", "error"),
    [
        (ExportOptions("wav", RATE_HZ, 2, 16), "PCM_16", 2 / 2**15),
        (ExportOptions("wav", RATE_HZ, 2, 24), "PCM_24", 2 / 2**23),
        (ExportOptions("wav", RATE_HZ, 2, 32), "FLOAT", 0.0),
        (ExportOptions("flac", RATE_HZ, 2, 16), "PCM_16", 2 / 2**15),
        (ExportOptions("flac", RATE_HZ, 2, 24), "PCM_24", 2 / 2**23),
    ],
)
async def test_the_file_is_the_line(
    studio: Studio, encode: ExportOptions, subtype: str, error: float
) -> None:
    line = await _studio_line(studio)
    export = await _export(studio, line, encode)
    heard, info = await _heard(studio, export)
    rendered = await studio.line("take")
    assert (info.subtype, info.samplerate, info.channels) == (subtype, RATE_HZ, 2)
    assert heard.shape == rendered.shape == (2, RATE_HZ + 30_870)
    assert np.abs(heard - rendered).max() <= error
    assert (export.samples, export.sample_rate_hz, export.duration_s) == (74_970, RATE_HZ, 1.7)
    assert (export.media_type, export.filename) == (encode.form.mime_type, f"sketch{encode.form.suffix}")
    assert export.created_at == NOW


async def test_an_mp3_is_the_line_nearly(studio: Studio) -> None:
    line = await _studio_line(studio)
    heard, info = await _heard(studio, await _export(studio, line, ExportOptions("mp3", RATE_HZ, 2)))
    rendered = await studio.line("take")
    assert info.format == "MP3"
    assert abs(heard.shape[1] - rendered.shape[1]) <= 1152
    common = min(heard.shape[1], rendered.shape[1])
    assert np.abs(heard[:, :common] - rendered[:, :common]).mean() < 0.01


async def test_another_rate_and_channels_are_made_if_asked_for(studio: Studio) -> None:
    line = await _studio_line(studio)
    export = await _export(studio, line, ExportOptions("wav", 48_000, 1, 32))
    heard, info = await _heard(studio, export)
    assert (info.samplerate, heard.shape) == (48_000, (1, 81_600))
    ideal = sampled(chirp, 0.0, 81_600, 48_000)
    assert np.abs(heard - ideal)[:, 500:80_000].max() < 0.003
    assert export.duration_s == pytest.approx(1.7)


async def test_chapters_are_the_nodes_that_sound_in_the_file(studio: Studio, tmp_path: Path) -> None:
    await _studio_line(studio)
    await studio.branch(SignalGenerator(chirp, begins_s=1.7), 1.0, parent_id="take", name="third")
    options = ExportOptions("m4a", 48_000, 2, start=RATE_HZ + RATE_HZ // 2, tags=Tags(title="Song"))
    plain = _order(studio.audio_to("third"), options)
    names = ("clip.wav", "marimba", "strings")
    order = replace(
        plain, nodes=tuple(replace(node, name=name) for node, name in zip(plain.nodes, names, strict=True))
    )
    export = await _stage(studio).run(TENANT, order)
    path = tmp_path / export.filename
    path.write_bytes(await studio.blobs.get(TENANT, export.blob))
    with av.open(path) as file:
        chapters = file.chapters()
        assert file.duration == pytest.approx(1_200_000, abs=1_000)
    assert [each["metadata"]["title"] for each in chapters] == ["marimba", "strings"]
    assert [(each["start"], each["end"]) for each in chapters] == [(0, 200), (200, 1_200)]


async def test_a_line_of_mixed_rates_is_as_long_as_it_sounds(studio: Studio) -> None:
    line = [
        await studio.keep(sampled(tone, 0.0, RATE_HZ, RATE_HZ), RATE_HZ),
        await studio.keep(sampled(tone, 0.0, 16_000, 32_000), 32_000),
    ]
    export = await _export(studio, line, ExportOptions("wav", RATE_HZ, 1, 32))
    heard, _ = await _heard(studio, export)
    assert heard.shape == (1, RATE_HZ + RATE_HZ // 2)
    assert export.duration_s == 1.5


async def test_the_same_plan_is_found_again(studio: Studio, tmp_path: Path) -> None:
    line = await _studio_line(studio)
    first = await _export(studio, line, WAV)
    again = await _stage(studio, tmp_path / "no-ffmpeg-is-needed").run(TENANT, _order(line, WAV, "other.wav"))
    assert again == first
    assert await Exports(studio.store).find(TENANT, first.id) == first


async def test_another_tenant_finds_nothing(studio: Studio, tmp_path: Path) -> None:
    line = await _studio_line(studio)
    export = await _export(studio, line, WAV)
    assert await Exports(studio.store).find("somebody-else", export.id) is None


async def test_the_same_line_is_the_same_bytes_in_another_store(studio: Studio) -> None:
    other = Studio()
    exports = [await _export(place, await _studio_line(place), WAV) for place in (studio, other)]
    assert exports[0].id == exports[1].id
    assert exports[0].blob.sha256 == exports[1].blob.sha256


async def test_a_plans_hash_tells_plans_apart(studio: Studio) -> None:
    line = await _studio_line(studio)
    lines = [
        line,
        line[:1],
        line[::-1],
        [line[0], replace(line[1], lead_in=None)],
    ]
    encodes = [
        WAV,
        replace(WAV, bit_depth=16),
        replace(WAV, rate_hz=48_000),
        replace(WAV, channels=1),
        replace(WAV, tags=Tags(title="Other")),
        ExportOptions("flac", RATE_HZ, 2, 24),
    ]
    hashes = [_order(one, encode).plan().hash() for one in lines for encode in encodes]
    assert len(set(hashes)) == len(hashes)
    renamed = replace(line[0], blob=replace(line[0].blob, name="under-another-name"))
    same = [renamed, *line[1:]]
    assert _order(same, WAV).plan().hash() == _order(line, WAV).plan().hash()


def test_a_line_without_audio_cannot_be_exported() -> None:
    with pytest.raises(ValueError, match="nothing to export"):
        _order([], WAV)


async def test_what_fails_keeps_nothing(studio: Studio, tmp_path: Path) -> None:
    line = await _studio_line(studio)
    failing = tmp_path / "ffmpeg"
    failing.write_text("#!/bin/sh\nexit 1\n")
    failing.chmod(0o755)
    with pytest.raises(FfmpegFailed):
        await _stage(studio, failing).run(TENANT, _order(line, WAV))
    with pytest.raises(FfmpegMissing):
        await _stage(studio, tmp_path / "nothing").run(TENANT, _order(line, WAV))
    assert await Exports(studio.store).find(TENANT, _order(line, WAV).plan().hash()) is None
    await studio.store.delete(paths.blob(TENANT, line[0].blob.name))
    with pytest.raises(BlobCorrupt):
        await _export(studio, line, WAV)


async def test_memory_does_not_grow_with_the_line(tmp_path: Path) -> None:
    """Ten nodes of 12 MB: the file alone is 90 MB. A few blocks of 2 MB are enough."""
    studio = Studio()
    studio.blobs = Blobs(store := LocalFolderStore(tmp_path / "store"))
    node = await studio.keep(sampled(tone, 0.0, 32 * 48_000, 48_000, 2), 48_000)
    stage = ExportStage(studio.blobs, Exports(store), find_ffmpeg(), 60.0, clock=lambda: NOW)
    tracemalloc.start()
    try:
        export = await stage.run(TENANT, _order([node] * 10, ExportOptions("wav", 44_100, 2, 16)))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert export.blob.size_bytes > 56_000_000
    assert export.duration_s == 320.0
    assert peak_bytes < 40_000_000


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
async def test_16_bit_material_is_exported_in_16_bits_as_it_is(studio: Studio, audio_format: str) -> None:
    """But for the seam's surroundings, which were mixed; silence stays silence."""
    steps = np.round(sampled(noise(0.2), 0.0, RATE_HZ, RATE_HZ, 2) * 32768).clip(-32768, 32767)
    material = (steps / 32768).astype(np.float32)
    material[:, 10_000:14_000] = 0.0
    line = [await studio.keep(material, RATE_HZ), await studio.keep(material, RATE_HZ)]
    heard, _ = await _heard(studio, await _export(studio, line, ExportOptions(audio_format, RATE_HZ, 2, 16)))
    both = np.concatenate([material, material], axis=1)
    differing = np.flatnonzero((heard != both).any(axis=0))
    assert differing.size
    assert differing.min() >= RATE_HZ - 441 - 1024
    assert differing.max() < RATE_HZ + 441 + 1024
    assert not heard[:, 10_000:14_000].any()


@pytest.mark.parametrize(
    ("encode", "clipped"),
    [
        (ExportOptions("wav", 8_000, 1, 16), 3),
        (ExportOptions("wav", 8_000, 1, 24), 3),
        (ExportOptions("wav", 8_000, 1, 32), 0),
        (ExportOptions("flac", 8_000, 1), 3),
        (ExportOptions("mp3", 8_000, 1), 3),
        (ExportOptions("flac", 8_000, 1, gain_db=-12.0), 0),
    ],
)
async def test_what_is_clipped_is_counted(studio: Studio, encode: ExportOptions, clipped: int) -> None:
    samples = sampled(tone, 0.0, 8_000, 8_000)
    samples[0, [100, 200, 300, 400]] = [1.0, 2.0, -1.5, 1.25]
    export = await _export(studio, [await studio.keep(samples, 8_000)], encode)
    assert export.clipped_samples == clipped
    assert export.peak_dbfs == pytest.approx(20 * np.log10(2.0) + encode.gain_db, abs=1e-5)
    assert await Exports(studio.store).find(TENANT, export.id) == export


@pytest.mark.parametrize(("rate_hz", "file_hz"), [(191_999, 192_000), (65_535, 65_540), (88_201, 88_210)])
async def test_a_flac_has_a_rate_that_flac_can_hold(studio: Studio, rate_hz: int, file_hz: int) -> None:
    samples = sampled(tone, 0.0, rate_hz, rate_hz)
    export = await _export(
        studio,
        [await studio.keep(samples, rate_hz)],
        download_options("flac", rate_hz, 1),
    )
    heard, info = await _heard(studio, export)
    assert (info.samplerate, heard.shape) == (file_hz, (1, file_hz))
    assert np.abs(heard - sampled(tone, 0.0, file_hz, file_hz))[:, 1000:-1000].max() < 1e-4


async def test_numbers_far_beyond_full_scale_can_be_an_mp3(studio: Studio) -> None:
    samples = sampled(tone, 0.0, RATE_HZ, RATE_HZ)
    samples[0, 100] = 3.4e38
    line = [await studio.keep(samples, RATE_HZ)]
    export = await _export(studio, line, ExportOptions("mp3", RATE_HZ, 1))
    assert (await _heard(studio, export))[1].format == "MP3"
