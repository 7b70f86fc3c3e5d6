from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.music.audiocraft.checkpoint import load_checkpoint, state_sha256
from deployments.engines.music.audiocraft.tiny import ensure_tiny
from deployments.engines.music.catalog import find
from deployments.engines.music.load import load
from tests.deployments.engines.loaded import TINY, model_cache, tiny_engine

pytestmark = pytest.mark.torch


def test_digest_is_over_names_types_shapes_and_values_in_any_order() -> None:
    state = {"a": torch.arange(6.0), "b": torch.zeros(2, dtype=torch.bfloat16)}
    digest = state_sha256(state)
    assert digest == state_sha256(dict(reversed(state.items())))
    others: list[dict[str, torch.Tensor]] = [
        {**state, "a": state["a"].reshape(2, 3)},
        {**state, "a": state["a"].int().view(torch.int32)},
        {**state, "a": state["a"] + 1},
        {"c": state["a"], "b": state["b"]},
        {"a": state["a"]},
    ]
    assert len({digest, *map(state_sha256, others)}) == 6


async def test_a_local_folder_loads_as_the_same_model(tmp_path: Path) -> None:
    folder = tmp_path / "my-melody"
    shutil.copytree(ensure_tiny("tiny-melody", model_cache()), folder)
    engine = load(find(str(folder)), cache_dir=tmp_path / "unused", options=TINY)
    info, original = await engine.info(), await tiny_engine("tiny-melody").info()
    await engine.close()
    assert info.model == "local/my-melody"
    assert info.weights_sha256 == original.weights_sha256
    assert info.modes == original.modes
    assert not (tmp_path / "unused").exists()


def test_a_checkpoint_that_holds_code_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    shutil.copytree(ensure_tiny("tiny", model_cache()), folder)
    package = torch.load(folder / "state_dict.bin", weights_only=True)
    torch.save({**package, "hook": shutil.rmtree}, folder / "state_dict.bin")
    with pytest.raises(ModelUnavailable, match=r"local/evil cannot be loaded"):
        load_checkpoint(find(str(folder)), torch.device("cpu"), tmp_path)


def test_a_separator_that_holds_code_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    shutil.copytree(ensure_tiny("tiny-melody", model_cache()), folder)
    (path,) = (folder / "demucs").glob("*.th")
    path.unlink()
    signature = path.stem.partition("-")[0]
    torch.save({"klass": shutil.rmtree}, folder / "demucs" / f"{signature}.th")
    with pytest.raises(ModelUnavailable, match=r"local/evil cannot be loaded"):
        load_checkpoint(find(str(folder)), torch.device("cpu"), tmp_path)


def test_loading_leaves_audiocraft_and_demucs_as_they_were() -> None:
    from audiocraft.models import loaders
    from audiocraft.modules.conditioners import T5Conditioner
    from demucs import pretrained

    before = (
        pretrained.get_model,
        loaders.load_lm_model_ckpt,
        T5Conditioner.MODELS,
        T5Conditioner.MODELS_DIMS,
    )
    load_checkpoint(find("tiny-melody"), torch.device("cpu"), model_cache())
    after = (
        pretrained.get_model,
        loaders.load_lm_model_ckpt,
        T5Conditioner.MODELS,
        T5Conditioner.MODELS_DIMS,
    )
    assert after == before
    assert "t5-small" in T5Conditioner.MODELS
    assert not any(Path(name).is_absolute() for name in T5Conditioner.MODELS)


def test_loading_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    load_checkpoint(find("tiny-melody"), torch.device("cpu"), model_cache())
    assert capfd.readouterr() == ("", "")
