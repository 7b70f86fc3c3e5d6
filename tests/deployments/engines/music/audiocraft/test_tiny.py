from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from deployments.engines.music.audiocraft.checkpoint import Checkpoint, load_checkpoint
from deployments.engines.music.audiocraft.tiny import TINY_MODELS, VERSION, ensure_tiny, write_tiny
from deployments.engines.music.catalog import find
from tests.deployments.engines.loaded import chord, level_db, model_cache, tiny_engine

pytestmark = pytest.mark.torch

# Changing a weight, a config or a tensor's name changes these: then count `tiny.VERSION` up and write them anew.
WEIGHTS_SHA256 = {
    "tiny": "96721f1891b5d77ec60f6c529617a1e6edc39d49620f9929984ae997ca5c0c1b",
    "tiny-melody": "9d7b218a47619972cefa88519ba3eea8f616ca9ecfae1a8f744a54c9c8442373",
    "tiny-stereo": "bf2d1b4941beed14306b83df07d097eb38e806d17bf02fe9f4f19ffbf76e30f9",
}


@pytest.fixture(scope="module")
def tiny() -> Checkpoint:
    return load_checkpoint(find("tiny"), torch.device("cpu"), model_cache())


@pytest.mark.parametrize("name", TINY_MODELS)
async def test_weights_are_the_same_everywhere(name: str) -> None:
    assert (await tiny_engine(name).info()).weights_sha256 == WEIGHTS_SHA256[name]


@pytest.mark.parametrize("file", ["state_dict.bin", "compression_state_dict.bin"])
def test_files_have_audiocrafts_export_format(file: str) -> None:
    package = torch.load(ensure_tiny("tiny", model_cache()) / file, weights_only=True)
    assert package["exported"] is True
    assert package["version"] == "1.3.0"
    assert "sample_rate: 32000" in package["xp.cfg"]
    assert all(isinstance(tensor, torch.Tensor) for tensor in package["best_state"].values())


def test_making_one_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    write_tiny("tiny", tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_two_processes_at_once_share_one_whole_folder(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        other = pool.apply_async(ensure_tiny, ("tiny", tmp_path))
        folders = [ensure_tiny("tiny", tmp_path), other.get()]
    assert folders == [tmp_path / f"tiny-v{VERSION}"] * 2
    assert [path.name for path in tmp_path.iterdir()] == [f"tiny-v{VERSION}"], "a draft was left behind"
    assert find(str(folders[0])).licence == "MIT"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of tiny"):
        ensure_tiny("tiny-ukulele", tmp_path)
    assert list(tmp_path.iterdir()) == []


def _decode(tiny: Checkpoint, codes: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with torch.no_grad():
        audio: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = tiny.codec.decode(codes)[0].numpy()
    return audio


def test_random_tokens_play_at_a_sane_and_steady_level(tiny: Checkpoint) -> None:
    codes = torch.randint(0, 64, (1, 4, 1000), generator=torch.Generator().manual_seed(0))
    audio = _decode(tiny, codes)
    assert audio.shape == (1, 1000 * 640)
    assert level_db(audio) == pytest.approx(-20.0, abs=1.0)
    assert np.abs(audio).max() < 1.0
    assert abs(audio.mean()) < 1e-4
    seconds = audio.reshape(-1, 32_000)
    assert all(abs(level_db(second) - level_db(audio)) < 1.5 for second in seconds)


@pytest.mark.parametrize("gain", [0.03, 0.3, 1.0, 3.0])
def test_level_hardly_depends_on_what_was_encoded(tiny: Checkpoint, gain: float) -> None:
    with torch.no_grad():
        codes, scale = tiny.codec.encode(torch.from_numpy(chord(4.0) * np.float32(gain))[None])
    assert scale is None
    assert codes.shape == (1, 4, 200)
    assert len(codes[0, 0].unique()) > 5, "the encoder ignores its input"
    assert level_db(_decode(tiny, codes)) == pytest.approx(-20.0, abs=3.0)
