"""Models by their names on the hub: what is fetched for each, and that it loads without a further look there."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.engines.analysis import catalog as analysis
from deployments.engines.analysis.needs import of_analyser
from deployments.engines.common.device import Device
from deployments.engines.common.hub.fetch import fetch, is_cached
from deployments.engines.music import catalog as registry
from deployments.engines.music.audiocraft.checkpoint import load_checkpoint
from deployments.engines.music.needs import of_generator
from deployments.engines.separation import catalog as separation
from deployments.engines.separation.demucs.bag import load_bag
from deployments.engines.separation.needs import of_separator
from tests.hub import published
from tests.hub.server import Fault, Hub

CACHE = Path("~/.cache/segue/models").expanduser()


def _weights_of(model: str, cache_dir: Path) -> str:
    import torch

    return load_checkpoint(registry.find(model), torch.device("cpu"), cache_dir).weights_sha256


@pytest.mark.parametrize(
    ("tiny", "name", "repositories"),
    [
        ("tiny", published.SMALL, {published.SMALL, "t5-base"}),
        ("tiny-melody", published.MELODY, {published.MELODY, "t5-base", "adefossez/HTDemucs"}),
    ],
)
def test_a_musicgen_loads_by_its_name_and_the_next_time_without_the_hub(
    hub: Hub, tmp_path: Path, tiny: str, name: str, repositories: set[str]
) -> None:
    hub.repositories = published.musicgen(CACHE, tiny, name)
    first = _weights_of(name, tmp_path)
    folders = {path.name for path in (tmp_path / "cache").glob("models--*")}
    assert folders == {f"models--{each.replace('/', '--')}" for each in repositories}
    hub.requests.clear()
    hub.fail(Fault.SILENT)
    assert _weights_of(name, tmp_path) == first
    assert hub.requests == []


def test_a_stereo_model_brings_the_codec_that_it_names(hub: Hub, tmp_path: Path) -> None:
    hub.repositories = published.musicgen(CACHE, "tiny-stereo", published.STEREO)
    hub.repositories[published.STEREO]["compression_state_dict.bin"] = published.pointer(
        "facebook/encodec_32khz"
    )
    hub.repositories["facebook/encodec_32khz"] = {"config.json": b"{}", "model.safetensors": b"weights"}
    weights = of_generator(registry.find(published.STEREO))
    assert weights is not None
    fetch([weights])
    assert hub.downloads("encodec_32khz/model.safetensors") == [None]
    assert is_cached(weights)


def test_a_separator_by_its_name(hub: Hub, tmp_path: Path) -> None:
    hub.repositories = published.musicgen(CACHE, "tiny-melody", published.MELODY)
    bag = load_bag(separation.find("htdemucs"), tmp_path)
    assert bag.sources == ("drums", "bass", "other", "vocals")
    weights = of_separator(separation.find("htdemucs"))
    assert weights is not None
    assert is_cached(weights)


def test_clap_comes_once_and_into_the_hubs_cache(hub: Hub, tmp_path: Path) -> None:
    from deployments.engines.analysis.mood.clap import ClapCritic

    hub.repositories[published.CLAP] = published.clap(tmp_path / "clap")
    entry = analysis.find(published.CLAP)
    critic = ClapCritic(entry, cache_dir=tmp_path / "models", device=Device.CPU)
    assert critic.method == "clap"
    assert hub.downloads("pytorch_model.bin") == [None]
    assert hub.downloads("model.safetensors") == []
    assert not (tmp_path / "models").exists()
    weights = of_analyser(entry)
    assert weights is not None
    assert is_cached(weights)


def test_nothing_is_asked_for_what_is_made_here() -> None:
    for name in ("mock", "tiny", "tiny-melody", "tiny-stereo"):
        assert of_generator(registry.find(name)) is None
    for name in ("mock", "tiny"):
        assert of_separator(separation.find(name)) is None
    for name in ("mock", "signal", "tiny-clap"):
        assert of_analyser(analysis.find(name)) is None


def test_a_folder_without_its_text_encoder_names_the_hubs(hub: Hub, tmp_path: Path) -> None:
    repositories = published.musicgen(CACHE, "tiny", "x/y")
    folder = tmp_path / "mine"
    folder.mkdir()
    for file, content in repositories["x/y"].items():
        (folder / file).write_bytes(content)
    hub.repositories = {"t5-base": repositories["t5-base"]}
    weights = of_generator(registry.find(str(folder)))
    assert weights is not None
    assert not is_cached(weights)
    fetch([weights])
    assert is_cached(weights)
