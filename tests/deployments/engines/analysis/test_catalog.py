from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deployments.engines.analysis.catalog import CATALOG, AnalyserOptions, find
from deployments.engines.analysis.load import load
from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.common.errors import ModelUnavailable, UnknownModel


def test_names_are_unique_and_found() -> None:
    names = [entry.name for entry in CATALOG.entries]
    assert len(set(names)) == len(names)
    assert [find(name) for name in names] == list(CATALOG.entries)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownModel, match=r"'ears'.*mock, signal.*laion/clap"):
        find("ears")


@pytest.mark.parametrize("files", [[], ["config.json"], ["preprocessor_config.json"]])
def test_a_folder_without_its_files_is_no_model(tmp_path: Path, files: list[str]) -> None:
    for file in files:
        (tmp_path / file).write_text("{}")
    with pytest.raises(UnknownModel):
        find(str(tmp_path))


def test_a_local_model_shows_its_licence_but_not_where_it_lies(tmp_path: Path) -> None:
    for file in ("config.json", "preprocessor_config.json"):
        (tmp_path / file).write_text("{}")
    (tmp_path / "LICENSE").write_text("CC-BY-4.0\nand so on")
    entry = find(str(tmp_path))
    assert entry.name == f"local/{tmp_path.name}"
    assert entry.licence == "CC-BY-4.0"
    assert str(tmp_path) not in str(entry.describe())


def test_files_that_are_no_clap_say_so_without_their_path(tmp_path: Path) -> None:
    for file in ("config.json", "preprocessor_config.json"):
        (tmp_path / file).write_text("{}")
    with pytest.raises(ModelUnavailable) as caught:
        load(find(str(tmp_path)), cache_dir=tmp_path / "cache", options=AnalyserOptions(melody="none"))
    assert str(tmp_path) not in str(caught.value)


def test_an_unknown_melody_model_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match="crepe-tiny or crepe-full or none"):
        load(find("signal"), cache_dir=Path("/nonexistent"), options=AnalyserOptions(melody="ears"))


@pytest.mark.parametrize("name", ["mock", "signal"])
def test_without_a_melody_no_torch_is_loaded(name: str) -> None:
    code = (
        "import sys, pathlib\n"
        "from deployments.engines.analysis.catalog import AnalyserOptions, find\n"
        "from deployments.engines.analysis.load import load\n"
        f"load(find('{name}'), cache_dir=pathlib.Path('/nonexistent'), options=AnalyserOptions(melody='none'))\n"
        "print('torch' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False"]


def test_mock_needs_nothing() -> None:
    assert isinstance(load(find("mock"), cache_dir=Path("/nonexistent")), MockAnalyser)
