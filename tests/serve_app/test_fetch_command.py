"""`serve_app.fetch` and `serve_app.preflight`: one sentence, an exit status, and files."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import yaml

from deployments.engines.common.errors import UnknownModel
from serve_app import fetch, preflight
from serve_app.app import BuildArgs, build
from tests.hub.conftest import hub as hub
from tests.hub.server import Fault, Hub
from tests.support.ports import free_port

CLAP = "laion/larger_clap_music"
FILES = ("config.json", "preprocessor_config.json", "tokenizer.json", "pytorch_model.bin")


@pytest.fixture
def deploy_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MODEL", "SEPARATOR", "CF_MUSICGEN_MOCK"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "deploy.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "http_options": {"host": "127.0.0.1", "port": free_port()},
                "applications": [{"args": {"profile": "local"}}],
            }
        )
    )
    return path


def _checked(deploy_file: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["preflight", str(deploy_file)])
    return preflight.main()


def test_all_is_well(deploy_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _checked(deploy_file, monkeypatch) == 0


@pytest.mark.parametrize(
    ("variable", "family", "name", "nearest"),
    [
        ("MODEL", "model", "facebook/musicgen-smol", "facebook/musicgen-small"),
        ("SEPARATOR", "separator", "htdemuc", "htdemucs"),
        ("SEGUE_ANALYSIS__SERVED", "analyser", "laion/larger-clap-music", CLAP),
    ],
)
def test_a_wrong_name_ends_it_with_the_nearest_one(
    deploy_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    family: str,
    name: str,
    nearest: str,
) -> None:
    monkeypatch.setenv(variable, name)
    assert _checked(deploy_file, monkeypatch) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"There is no {family} '{name}'. Did you mean '{nearest}'? Known are ")
    assert said.count("\n") == 1


def test_an_occupied_port_ends_it(
    deploy_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = yaml.safe_load(deploy_file.read_text())["http_options"]["port"]
    with socket.create_server(("127.0.0.1", port)):
        assert _checked(deploy_file, monkeypatch) == 1
    assert f"127.0.0.1:{port} is in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        (
            ["KEY", "CERTIFICATES"],
            "The file of export.c2pa_key, /none/KEY, cannot be read: No such file or directory.\n",
        ),
        (["KEY"], "export.c2pa_key and export.c2pa_certificates belong together"),
    ],
)
def test_a_key_that_cannot_sign_ends_it(
    deploy_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    named: list[str],
    sentence: str,
) -> None:
    for name in named:
        monkeypatch.setenv(f"SEGUE_EXPORT__C2PA_{name}", f"/none/{name}")
    assert _checked(deploy_file, monkeypatch) == 1
    assert sentence in capsys.readouterr().err


def test_weights_are_fetched_before_anything_starts(
    hub: Hub, deploy_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories[CLAP] = {file: file.encode() for file in FILES}
    monkeypatch.setenv("SEGUE_ANALYSIS__SERVED", CLAP)
    assert _checked(deploy_file, monkeypatch) == 0
    assert f"Downloading the weights of {CLAP}." in capsys.readouterr().err
    assert hub.downloads("pytorch_model.bin") == [None]
    hub.requests.clear()
    assert _checked(deploy_file, monkeypatch) == 0
    assert capsys.readouterr().err == ""
    assert hub.requests == []


def test_a_hub_that_refuses_ends_it_with_one_sentence(
    hub: Hub, deploy_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.fail(Fault.GATED)
    monkeypatch.setenv("SEGUE_ANALYSIS__SERVED", CLAP)
    assert _checked(deploy_file, monkeypatch) == 1
    said = capsys.readouterr().err
    assert f"The hub gives {CLAP} only to accounts that have accepted its terms" in said
    assert "Traceback" not in said


def test_the_command_takes_names_of_any_kind(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.repositories[CLAP] = {file: file.encode() for file in FILES}
    assert fetch.main([CLAP, "tiny"]) == 0
    assert hub.downloads("/config.json") == [None]
    assert fetch.main(["htdemucz"]) == 1
    assert "Did you mean 'htdemucs'?" in capsys.readouterr().err


def test_ctrl_c_says_that_nothing_is_lost(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "fetch", interrupted)
    assert fetch.main([CLAP]) == fetch.INTERRUPTED
    assert "the next start continues there" in capsys.readouterr().err


def test_an_application_with_one_model_twice_is_not_built() -> None:
    with pytest.raises(UnknownModel, match="cannot be told apart"):
        build(BuildArgs(settings={"models": {"served": ["mock", "mock"]}}))
