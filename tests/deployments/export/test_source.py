"""The way from floats to a file: levels, clipping, odd names, and what ffmpeg may open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from deployments.export.ffmpeg import FfmpegFailed, find_ffmpeg, run_ffmpeg
from deployments.export.formats import FORMATS, AudioEncoding, encode_arguments
from deployments.export.source import SourceWriter

Frames = npt.NDArray[np.float32]  # [samples, channels], as soundfile has it


async def encode(name: str, bit_depth: int | None, frames: Frames, folder: Path, stem: str = "out") -> Path:
    encoding = AudioEncoding(FORMATS[name], 8_000, frames.shape[1], bit_depth)
    source, target = folder / f"{stem}-source.wav", folder / f"{stem}{encoding.format.suffix}"
    with SourceWriter(source, 8_000, frames.shape[1], encoding.bit_depth) as writer:
        for start in range(0, len(frames), 1_000):
            writer.append(np.ascontiguousarray(frames[start : start + 1_000].T))
        writer.close()
    await run_ffmpeg(encode_arguments(encoding, source, target), ffmpeg=find_ffmpeg(), timeout_s=60)
    return target


def read(path: Path) -> Frames:
    frames: Frames = soundfile.read(path, dtype="float32", always_2d=True)[0]
    return frames


@pytest.mark.parametrize(("name", "bit_depth"), [("wav", 16), ("wav", 24), ("flac", 16), ("aiff", 24)])
async def test_integers_clip_and_never_wrap(tmp_path: Path, name: str, bit_depth: int) -> None:
    loud = np.array([1.0, -1.0, 1.01, -1.01, 1.5, -1.5, 100, -100], np.float32)
    frames = np.tile(loud, 500).reshape(-1, 1)
    path = await encode(name, bit_depth, frames, tmp_path)
    np.testing.assert_allclose(read(path), frames.clip(-1, 1), atol=2.0**-13)


async def test_32_bits_keep_what_is_over_full_scale(tmp_path: Path) -> None:
    frames = (np.random.default_rng(7).standard_normal((8_000, 1)) * 10).astype(np.float32)
    np.testing.assert_array_equal(read(await encode("wav", 32, frames, tmp_path)), frames)


async def test_a_playlist_in_place_of_the_source_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, np.zeros(8_000), 8_000, subtype="FLOAT")
    source, target = tmp_path / "source.wav", tmp_path / "out.wav"
    source.write_bytes(f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n".encode().ljust(400))
    arguments = encode_arguments(AudioEncoding(FORMATS["wav"], 8_000, 1, 32), source, target)
    with pytest.raises(FfmpegFailed):
        await run_ffmpeg(arguments, ffmpeg=find_ffmpeg(), timeout_s=30)


@pytest.mark.parametrize("name", ["with space", "http:colon", "-y", "50%d", "日本'\""])
async def test_odd_file_names_are_only_names(tmp_path: Path, name: str) -> None:
    path = await encode("wav", 24, np.zeros((800, 1), np.float32), tmp_path, name)
    assert soundfile.info(path).frames == 800


async def test_a_relative_path_with_a_leading_dash_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = await encode("wav", 24, np.zeros((800, 1), np.float32), Path(), "-nostdin")
    assert soundfile.info(path).frames == 800
