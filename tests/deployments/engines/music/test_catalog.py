from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deployments.engines.common.errors import ModelUnavailable, UnknownModel
from deployments.engines.music.catalog import CATALOG, find
from deployments.engines.music.load import load
from deployments.engines.music.mock import MockEngine
from deployments.engines.music.protocol import GenerationMode
from tests.deployments.engines.loaded import model_cache, tiny_engine


def test_names_are_unique_and_found() -> None:
    names = [entry.name for entry in CATALOG.entries]
    assert len(set(names)) == len(names)
    assert [find(name) for name in names] == list(CATALOG.entries)


def test_hub_models_say_what_they_are() -> None:
    hub = {entry.name: entry for entry in CATALOG.entries if entry.name.startswith("facebook/")}
    assert len(hub) == 10
    assert {entry.licence for entry in hub.values()} == {"CC-BY-NC-4.0"}
    for name, entry in hub.items():
        assert entry.channels == (2 if "stereo" in name else 1)
        assert (GenerationMode.MELODY in entry.modes) == ("melody" in name)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownModel, match=r"'facebook/musicgen-tiny'.*tiny-stereo.*facebook/musicgen-small"):
        find("facebook/musicgen-tiny")


@pytest.mark.parametrize("files", [[], ["state_dict.bin"], ["compression_state_dict.bin"]])
def test_a_folder_without_both_files_is_no_model(tmp_path: Path, files: list[str]) -> None:
    for file in files:
        (tmp_path / file).write_bytes(b"")
    with pytest.raises(UnknownModel):
        find(str(tmp_path))


def test_a_relative_path_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("state_dict.bin", "compression_state_dict.bin"):
        (tmp_path / file).write_bytes(b"")
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(UnknownModel):
        find(tmp_path.name)


def test_files_that_are_no_checkpoint_say_so_without_their_path(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in ("state_dict.bin", "compression_state_dict.bin"):
        (folder / file).write_bytes(b"not a zip")
    with pytest.raises(ModelUnavailable, match=r"state_dict\.bin of broken") as caught:
        find(str(folder))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["tiny", "tiny-melody", "tiny-stereo"])
async def test_entries_agree_with_the_loaded_engine_and_with_the_files(name: str) -> None:
    from deployments.engines.music.audiocraft.tiny import ensure_tiny

    info, entry = await tiny_engine(name).info(), find(name)
    local = find(str(ensure_tiny(name, model_cache())))
    for known in (entry, local):
        assert known.channels == info.channels
        assert known.sample_rate_hz == info.sample_rate_hz
        assert set(known.modes) == set(info.modes)
        assert known.licence == info.licence == "MIT"
    assert local.folder is not None
    assert str(local.folder) not in str(local.describe())


@pytest.mark.torch
@pytest.mark.parametrize(
    ("files", "licence"),
    [
        ({}, "unknown"),
        ({"LICENSE": "Apache-2.0\nand so on"}, "Apache-2.0"),
        ({"licence.txt": "CC-BY-4.0", "LICENSE": "Apache-2.0"}, "CC-BY-4.0"),
    ],
)
def test_a_local_folders_licence_is_what_its_file_says(
    tmp_path: Path, files: dict[str, str], licence: str
) -> None:
    from deployments.engines.music.audiocraft.tiny import ensure_tiny

    for file in ("state_dict.bin", "compression_state_dict.bin"):
        (tmp_path / file).symlink_to(ensure_tiny("tiny", model_cache()) / file)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert find(str(tmp_path)).licence == licence


def test_mock_loads_without_torch() -> None:
    code = (
        "import sys, pathlib\n"
        "from deployments.engines.music.catalog import CATALOG, find\n"
        "from deployments.engines.music.load import load\n"
        "load(find('mock'), cache_dir=pathlib.Path('/nonexistent'))\n"
        "print(len(CATALOG.entries), 'torch' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [str(len(CATALOG.entries)), "False"]
    assert isinstance(load(find("mock"), cache_dir=Path("/nonexistent")), MockEngine)
