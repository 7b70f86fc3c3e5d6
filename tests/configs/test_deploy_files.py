"""The two deploy files: lawful for Serve, lawful for Segue, and about deployments that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.environment import load_settings

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.serve, pytest.mark.filterwarnings("ignore")]  # of Ray's own imports


@pytest.fixture(params=["configs/local.yaml", "serve_config.yaml"])
def deploy_file(request: pytest.FixtureRequest) -> Any:
    return yaml.safe_load((REPOSITORY / request.param).read_text())


def test_serve_accepts_the_file(deploy_file: Any) -> None:
    from ray.serve.schema import ServeDeploySchema

    schema = ServeDeploySchema.model_validate(deploy_file)
    assert [application.import_path for application in schema.applications] == ["serve_app.app:build"]


def test_segue_accepts_the_arguments_and_has_every_deployment(
    deploy_file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.serve._private.build_app import build_app

    from serve_app.app import BuildArgs, build

    for variable in ("MODEL", "CF_MUSICGEN_MOCK"):
        monkeypatch.delenv(variable, raising=False)
    (application,) = deploy_file["applications"]
    args = BuildArgs.model_validate(application["args"])
    assert load_settings(args.settings, profile=args.profile, environ={}).profile == args.profile
    built = build_app(build(args), name="segue", make_deployment_handle=lambda deployment, name: None)
    named = [deployment["name"] for deployment in application["deployments"]]
    assert len(named) == len(set(named))
    assert set(named) == {deployment.name for deployment in built.deployments}


def test_streams_end_before_serve_cuts_them(deploy_file: Any) -> None:
    (application,) = deploy_file["applications"]
    settings = load_settings(
        application["args"].get("settings"), profile=application["args"]["profile"], environ={}
    )
    assert settings.events.max_stream_s < deploy_file["http_options"]["request_timeout_s"]


def test_a_laptop_listens_on_loopback_only() -> None:
    config = yaml.safe_load((REPOSITORY / "configs/local.yaml").read_text())
    assert config["http_options"]["host"] == "127.0.0.1"
