"""The unit, and the deploy file that it starts."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.ops.files import OPS, ROOT, deploy_file_settings, documents

TEXT = (OPS / "systemd" / "segue.service").read_text()
UNIT = re.findall(r"^([A-Za-z]+)=(.*)$", TEXT, re.MULTILINE)
VALUES = dict(UNIT)

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own imports


@pytest.fixture(scope="module")
def deploy_file() -> Any:
    return documents("one_machine.yaml")[0]


def test_it_starts_the_deploy_file_that_it_installs() -> None:
    python, *rest = VALUES["ExecStart"].split()
    assert rest[:2] == ["-m", "serve_app.run"]
    assert f"install -D -m 0644 ops/one_machine.yaml {rest[-1]}" in TEXT
    assert f"python3 -m venv {python.removesuffix('/bin/python')}" in TEXT
    assert (VALUES["User"], VALUES["KillMode"]) == ("segue", "mixed")
    assert int(VALUES["TimeoutStopSec"]) >= 90


def test_its_variables_are_settings_and_its_folders_its_own(deploy_file: Any) -> None:
    variables = dict(value.partition("=")[::2] for name, value in UNIT if name == "Environment")
    settings = deploy_file_settings(deploy_file, **variables)
    assert settings.storage.url == f"file:/var/lib/{VALUES['StateDirectory']}"
    assert settings.models.cache_dir.startswith(f"/var/cache/{VALUES['CacheDirectory']}/")
    in_makefile = set(re.findall(r"((?:RAY|GRPC)_[A-Z_]+)=", (ROOT / "Makefile").read_text()))
    assert in_makefile <= variables.keys()


def test_serve_takes_the_deploy_file(deploy_file: Any) -> None:
    from ray.serve.schema import ServeDeploySchema

    ServeDeploySchema.model_validate(deploy_file)
    reference = documents("../serve_config.yaml")[0]
    assert [each["name"] for each in deploy_file["applications"][0]["deployments"]] == [
        each["name"] for each in reference["applications"][0]["deployments"]
    ]
