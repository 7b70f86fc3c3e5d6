"""Chapters as players list them: every kind of file that has them, by every ffmpeg there is."""

from __future__ import annotations

import io
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import pytest
from PIL import Image

from deployments.audio.track import TrackWriter
from deployments.export.chapters import MAX_CHAPTERS, ChapterPlace, write_chapters
from deployments.export.formats import FORMATS, AudioEncoding, encode_arguments
from deployments.export.muxer import write_planar_mp4
from deployments.export.picture import jpeg_size
from deployments.export.planar import FrameSize
from deployments.export.tags import Tags, write_cover
from deployments.export.wav_chunks import Marker
from tests.deployments.export.referee import EVERY_FFMPEG
from tests.deployments.stages.studio import sampled, tone

RATE_HZ, SAMPLES = 48_000, 96_000
NAMES = ("Intro; a\\b = 1 #\\", "Zwei – 🎵", "  two\nlines ")
EXPECTED = [(0.0, "Intro; a\\b = 1 #"), (0.5, "Zwei – 🎵"), (1.25, "two lines")]
MARKERS = [Marker(at, name) for at, name in zip((0, 24_000, 60_000), NAMES, strict=True)]


def chapters_in(path: Path) -> list[tuple[float, str]]:
    """Where each begins in seconds, and its title, as libavformat reads them."""
    with av.open(path) as file:
        return [
            (float(each["start"] * Fraction(each["time_base"])), each["metadata"].get("title", ""))
            for each in file.chapters()
        ]


def _jpeg() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 48), "navy").save(data, "JPEG")
    return data.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.wav"
    with TrackWriter(path, RATE_HZ, 1) as writer:
        writer.append(sampled(tone, 0.0, SAMPLES, RATE_HZ))
        writer.close()
    return path


@pytest.mark.parametrize("ffmpeg", EVERY_FFMPEG, ids=str)
@pytest.mark.parametrize("has_cover", [False, True])
@pytest.mark.parametrize("name", ["mp3", "opus", "m4a", "flac"])
def test_every_player_finds_the_chapters_and_the_tags(
    tmp_path: Path, source: Path, ffmpeg: Path, name: str, has_cover: bool
) -> None:
    form = FORMATS[name]
    picture, target = _jpeg(), tmp_path / f"file{form.suffix}"
    cover = (
        write_cover(picture, *jpeg_size(picture), tmp_path, as_comment=form.cover == "comment")
        if has_cover
        else None
    )
    arguments = encode_arguments(
        AudioEncoding(form, RATE_HZ, 1),
        source,
        target,
        tags=Tags(title="Song"),
        cover=cover,
        chapters=write_chapters(form.chapters, MARKERS, SAMPLES, RATE_HZ, tmp_path),
    )
    subprocess.run([ffmpeg, *arguments], check=True)
    assert chapters_in(target) == EXPECTED
    with av.open(target) as file:
        said = {**file.metadata, **file.streams.audio[0].metadata}
        assert said["title"] == "Song"
        assert bool(file.streams.video or said.get("METADATA_BLOCK_PICTURE")) == has_cover


@pytest.mark.parametrize("ffmpeg", EVERY_FFMPEG, ids=str)
def test_a_video_has_them_too(tmp_path: Path, source: Path, ffmpeg: Path) -> None:
    size, target = FrameSize(32, 16), tmp_path / "clip.mp4"
    write_planar_mp4(
        target,
        [bytes(size.frame_bytes)] * 4,
        size,
        2,
        audio=source,
        chapters=write_chapters(FORMATS["mp4"].chapters, MARKERS, SAMPLES, RATE_HZ, tmp_path),
        ffmpeg=ffmpeg,
    )
    assert chapters_in(target) == EXPECTED
    with av.open(target) as file:
        assert file.streams.video[0].frames == 4
        assert file.duration == 2_000_000


@pytest.mark.parametrize("count", [0, 1, 2, MAX_CHAPTERS, MAX_CHAPTERS + 1, 9_999])
def test_too_many_are_thinned_evenly_and_one_alone_is_none(tmp_path: Path, count: int) -> None:
    markers = [Marker(10 * number, f"{number}") for number in range(count)]
    path = write_chapters(ChapterPlace.LIST, markers, 10 * count, RATE_HZ, tmp_path)
    if count < 2:
        assert path is None
        return
    assert path is not None
    lines = path.read_text().splitlines()
    starts = [int(line.removeprefix("START=")) for line in lines if line.startswith("START=")]
    ends = [int(line.removeprefix("END=")) for line in lines if line.startswith("END=")]
    assert min(count, MAX_CHAPTERS) / 2 <= len(starts) <= MAX_CHAPTERS
    assert (starts[0], ends[-1]) == (0, 10 * count)
    assert starts[1:] == ends[:-1]
    assert len({end - start for start, end in zip(starts[:-1], ends[:-1], strict=True)}) == 1
