"""The Dockerfile: what it copies is there, what it installs is what the project installs, and it is not root."""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib

from configs.environment import load_settings
from tests.ops.files import OPS, ROOT, instructions, is_pinned

STEPS = list(instructions((OPS / "Dockerfile").read_text()))
TEXT = (OPS / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_bases_are_pinned_and_one() -> None:
    bases = {arguments.split()[0] for name, arguments in STEPS if name == "FROM"}
    assert all(map(is_pinned, bases))
    assert len(bases) == 1


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    for name, arguments in STEPS:
        if name != "COPY" or "--from" in arguments:
            continue
        for source in arguments.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source in allowed, source
    packages = {
        pattern.partition(".")[0] for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    }
    copied = {arguments.split()[0] for name, arguments in STEPS if name == "COPY"}
    assert packages <= copied


def test_versions_are_those_of_the_project() -> None:
    pinned = dict(re.findall(r"([a-z]+)==([0-9.]+)", TEXT))
    makefile = dict(re.findall(r"(torch|audiocraft|torchcrepe)==([0-9.]+)", (ROOT / "Makefile").read_text()))
    assert pinned == makefile
    extras = set(re.findall(r'"\.\[([a-z,]+)\]"', TEXT))
    assert extras <= set(PROJECT["project"]["optional-dependencies"])
    assert set(re.findall(r"segue:([0-9.]+)-", TEXT)) == {PROJECT["project"]["version"]}


def test_it_runs_as_somebody_who_may_do_nothing() -> None:
    users = [arguments for name, arguments in STEPS if name == "USER"]
    assert users == ["segue"]
    assert [name for name, _ in STEPS].index("USER") < [name for name, _ in STEPS].index("ENTRYPOINT")
    assert "--uid 10001" in TEXT


def test_its_command_its_health_check_and_its_variables_are_segues_own() -> None:
    steps = dict(STEPS)
    entry, command = json.loads(steps["ENTRYPOINT"]), json.loads(steps["CMD"])
    assert entry[:3] == ["python", "-m", "serve_app.run"]
    assert [(OPS / name.rpartition("/")[2]).exists() for name in command] == [True]
    assert f":{steps['EXPOSE']}/readyz" in steps["HEALTHCHECK"]
    assert steps["STOPSIGNAL"] == "SIGTERM"
    variables = dict(re.findall(r"([A-Z_]+)=(\S+)", " ".join(rest for name, rest in STEPS if name == "ENV")))
    settings = load_settings({}, profile="cluster", environ=variables)
    assert settings.storage.url == "file:/var/lib/segue"
    assert settings.export.ffmpeg_path == "/usr/bin/ffmpeg"
    volumes = json.loads(steps["VOLUME"])
    assert all(fnmatch.fnmatch(settings.storage.url, f"*{volume}*") for volume in volumes)
