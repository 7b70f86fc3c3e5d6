"""Where a setting comes from: environment over arguments over profile over defaults; and nothing is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from configs.environment import DEFAULT_PROFILE, load_settings, overridden
from configs.profiles import LOOPBACK_HOSTS, PROFILES
from configs.settings import JobSettings, Settings


def load(
    overrides: Mapping[str, Any] | None = None, *, profile: str = DEFAULT_PROFILE, **environ: str
) -> Settings:
    return load_settings(overrides, profile=profile, environ=environ)


def test_defaults_need_nothing() -> None:
    settings = load()
    assert settings.profile == "local"
    assert settings.models.served == settings.separation.served == ("starter",)
    assert settings.jobs == JobSettings()


def test_each_layer_lies_over_the_one_below() -> None:
    assert JobSettings().concurrent == 16
    assert load(profile="cluster").jobs.concurrent == 32
    overrides = {"jobs": {"concurrent": 5}}
    assert load(overrides, profile="cluster").jobs.concurrent == 5
    assert load(overrides, profile="cluster", SEGUE_JOBS__CONCURRENT="7").jobs.concurrent == 7


def test_a_layer_replaces_single_fields_and_leaves_their_neighbours() -> None:
    settings = load({"jobs": {"lease_s": 20}}, profile="cluster", SEGUE_JOBS__SWEEP_S="1.5")
    assert settings.jobs == JobSettings(concurrent=32, lease_s=20, sweep_s=1.5)


def test_the_process_environment_is_read_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_JOBS__CONCURRENT", "9")
    assert load_settings().jobs.concurrent == 9
    assert load_settings(environ={}).jobs.concurrent == 16


def test_profiles_are_whole_and_known() -> None:
    for name in PROFILES:
        assert load(profile=name).profile == name
    with pytest.raises(ValueError, match=r"unknown profile 'laptop': choose one of local, cluster"):
        load(profile="laptop")


def test_a_laptop_answers_to_loopback_names_only() -> None:
    assert load().http.allowed_hosts == LOOPBACK_HOSTS
    assert "*" not in load().http.cors_origins


@pytest.mark.parametrize(
    ("variables", "served"),
    [
        ({"MODEL": "facebook/musicgen-small"}, ("facebook/musicgen-small",)),
        ({"MODEL": "a,b"}, ("a", "b")),
        ({"MODEL": " a , ,b, "}, ("a", "b")),
        ({"MODEL": ""}, ("of-the-args",)),
        ({"MODEL": " , "}, ("of-the-args",)),
        ({"CF_MUSICGEN_MOCK": "1"}, ("mock",)),
        ({"CF_MUSICGEN_MOCK": "True", "MODEL": "a"}, ("mock",)),
        ({"CF_MUSICGEN_MOCK": "0", "MODEL": "a"}, ("a",)),
        ({"CF_MUSICGEN_MOCK": ""}, ("of-the-args",)),
        ({"SEGUE_MODELS__SERVED": "[a, b]"}, ("a", "b")),
        ({"SEGUE_MODELS__SERVED": "[a, b]", "MODEL": "c"}, ("c",)),
        ({}, ("of-the-args",)),
    ],
)
def test_which_models_are_served(variables: dict[str, str], served: tuple[str, ...]) -> None:
    models = load_settings({"models": {"served": ["of-the-args"]}}, environ=variables).models
    assert models.served == served
    assert models.default == served[0]


def test_origins_are_a_list_with_commas() -> None:
    assert load(SEGUE_CORS_ORIGINS="https://a.example, https://b.example").http.cors_origins == (
        "https://a.example",
        "https://b.example",
    )


@pytest.mark.parametrize(
    ("variable", "text", "section", "field", "value"),
    [
        ("SEGUE_UPLOADS__MAX_BYTES", "50000000", "uploads", "max_bytes", 50_000_000),
        ("SEGUE_JOBS__LEASE_S", "2.5", "jobs", "lease_s", 2.5),
        ("SEGUE_MODELS__THREADS", "null", "models", "threads", None),
        ("SEGUE_MODELS__DEVICE", "cpu", "models", "device", "cpu"),
        ("SEGUE_HTTP__ALLOWED_HOSTS", "[a.example, '*']", "http", "allowed_hosts", ("a.example", "*")),
        ("SEGUE_HTTP__ALLOWED_HOSTS", "[]", "http", "allowed_hosts", ()),
        ("SEGUE_EXPORT__FFMPEG_PATH", "/opt/ffmpeg", "export", "ffmpeg_path", "/opt/ffmpeg"),
    ],
)
def test_any_setting_is_a_variable_with_a_yaml_value(
    variable: str, text: str, section: str, field: str, value: object
) -> None:
    settings = load_settings(environ={variable: text})
    assert getattr(getattr(settings, section), field) == value


@pytest.mark.parametrize(
    "overrides",
    [
        {"jobz": {}},
        {"jobs": {"lease": 3}},
        {"jobs": {"lease_s": "long"}},
        {"jobs": {"lease_s": 0}},
        {"jobs": {"max_attempts": 0}},
        {"models": {"served": []}},
        {"models": {"device": "tpu"}},
        {"jobs": None},
        {"log_level": "LOUD"},
    ],
)
def test_what_does_not_hold_is_an_error(overrides: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(overrides))):
        load(overrides)


@pytest.mark.parametrize(
    "variable",
    [
        "SEGUE_JOBZ__LEASE_S",
        "SEGUE_JOBS__LEASE",
        "SEGUE_JOBS__LEASE_S__MORE",
        "SEGUE___LEASE_S",
        "SEGUE_JOBS__",
    ],
)
def test_a_variable_that_names_no_setting_is_an_error(variable: str) -> None:
    with pytest.raises(ValidationError):
        load_settings(environ={variable: "3"})


def test_a_variable_that_is_no_yaml_is_named() -> None:
    with pytest.raises(ValueError, match="SEGUE_JOBS__LEASE_S"):
        load(SEGUE_JOBS__LEASE_S="[1")


def test_the_log_level_is_a_variable_too() -> None:
    assert load({"log_level": "ERROR"}, SEGUE_LOG_LEVEL="debug").log_level == "DEBUG"


def test_variables_of_others_are_none_of_ours() -> None:
    assert load(SEGUE="x", SEGUE_URL="http://there", JOBS__LEASE_S="3", PATH="/bin") == load()


def test_a_relative_folder_becomes_absolute_where_settings_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load({"storage": {"url": "file:data"}}).storage.url == f"file:{tmp_path / 'data'}"
    assert load(SEGUE_STORAGE="file:../other").storage.url == f"file:{tmp_path.parent / 'other'}"
    assert load(SEGUE_STORAGE="file:~/data").storage.url == f"file:{tmp_path / 'home' / 'data'}"
    assert load(SEGUE_STORAGE="file:/srv/segue").storage.url == "file:/srv/segue"
    assert load(SEGUE_STORAGE="memory:").storage.url == "memory:"
    assert load({"models": {"cache_dir": "weights"}}).models.cache_dir == str(tmp_path / "weights")
    defaults = load()
    assert defaults.storage.url == f"file:{tmp_path / 'data'}"
    assert defaults.models.cache_dir == str(tmp_path / "home" / ".cache" / "segue" / "models")
    assert defaults.tools.logs_folder == str(tmp_path / "data" / "tool-logs")
    assert (defaults.tools.folder, defaults.storage.ca_bundle) == (None, None)
    export = load({"export": {"c2pa_key": "~/c2pa.key", "c2pa_certificates": "c2pa.pem"}}).export
    assert (export.c2pa_key, export.c2pa_certificates) == (
        str(tmp_path / "home" / "c2pa.key"),
        str(tmp_path / "c2pa.pem"),
    )


def test_settings_cannot_be_changed() -> None:
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.log_level = "DEBUG"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.jobs.lease_s = 1.0  # type: ignore[misc]
    assert isinstance(settings.models.served, tuple)


def test_what_the_environment_overrides_in_a_deploy_file_is_named() -> None:
    file = {"models": {"served": ["tiny"], "takes": 4}, "storage": {"url": "file:data"}}
    assert overridden(file, {"SEGUE_MODEL": "mock", "SEGUE_MODELS__TAKES": "4"}) == (
        ("models.served", ["tiny"], ("mock",)),
    )
    assert overridden(file, {}) == ()


def test_a_name_with_the_prefix_comes_before_the_short_one() -> None:
    settings = load_settings(environ={"SEGUE_MODEL": "mock", "MODEL": "tiny", "SEGUE_SEPARATOR": "mock"})
    assert settings.models.served == ("mock",)
    assert settings.separation.served == ("mock",)
