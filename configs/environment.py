"""The only reader of the environment, and the order of precedence:

environment > deploy file (`args:`) > profile > defaults.

Variables: those of `SHORTHANDS`, and for any setting `SEGUE_{SECTION}__{FIELD}`, its value as YAML:
`SEGUE_UPLOADS__MAX_BYTES=50000000`. `docs/configuration.md` lists them all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import yaml

from configs.profiles import PROFILES
from configs.settings import Settings

MOCK_MODEL = "mock"
DEFAULT_PROFILE = "local"
_PREFIX = "SEGUE_"
_TRUE = frozenset({"1", "true", "yes", "on"})

Overrides = dict[str, Any]

SHORTHANDS: Mapping[str, str] = {
    "MODEL, SEGUE_MODEL": "`models.served`: one model, or several with commas; the first is the default",
    "SEPARATOR, SEGUE_SEPARATOR": "`separation.served`, alike",
    "CF_MUSICGEN_MOCK=1": "`models.served: [mock]`: no model, a copy of the source's end",
    "LOGS=true, SEGUE_LOGS=true": "`tools.logs`",
    "SEGUE_STORAGE": "`storage.url`",
    "SEGUE_CORS_ORIGINS": "`http.cors_origins`, with commas",
}
"""Variables with names of their own, and what each of them sets."""


def load_settings(
    overrides: Mapping[str, Any] | None = None,
    *,
    profile: str = DEFAULT_PROFILE,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from a profile, `overrides` (nested as Settings is) and the environment.

    Relative paths become absolute here, against this process's working folder. Raises ValueError for an
    unknown profile, an unknown setting or a value out of its range.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
    merged: Overrides = {"profile": profile}
    variables = os.environ if environ is None else environ
    for layer in (PROFILES[profile], overrides or {}, _from_environment(variables)):
        merged = _merge(merged, layer)
    return Settings.model_validate(merged)


def _from_environment(environ: Mapping[str, str]) -> Overrides:
    found: Overrides = {}
    for name, text in environ.items():
        section, separator, field = name.removeprefix(_PREFIX).lower().partition("__")
        if name.startswith(_PREFIX) and separator:
            found = _merge(found, {section: {field: _value(name, text)}})
    if level := environ.get(f"{_PREFIX}LOG_LEVEL"):
        found = _merge(found, {"log_level": level.upper()})
    if models := _names(_first(environ, "SEGUE_MODEL", "MODEL")):
        found = _merge(found, {"models": {"served": models}})
    if separators := _names(_first(environ, "SEGUE_SEPARATOR", "SEPARATOR")):
        found = _merge(found, {"separation": {"served": separators}})
    if environ.get("CF_MUSICGEN_MOCK", "").lower() in _TRUE:
        found = _merge(found, {"models": {"served": (MOCK_MODEL,)}})
    if _first(environ, "SEGUE_LOGS", "LOGS").lower() in _TRUE:
        found = _merge(found, {"tools": {"logs": True}})
    if url := environ.get(f"{_PREFIX}STORAGE"):
        found = _merge(found, {"storage": {"url": url}})
    if origins := _names(environ.get(f"{_PREFIX}CORS_ORIGINS", "")):
        found = _merge(found, {"http": {"cors_origins": origins}})
    return found


def _first(environ: Mapping[str, str], *names: str) -> str:
    """The value of the first of these variables that is set and not empty."""
    return next((environ[name] for name in names if environ.get(name)), "")


def overridden(
    overrides: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> tuple[tuple[str, Any, Any], ...]:
    """The settings of a deploy file that the environment overrides: (`section.field`, the file's value, the
    environment's)."""
    above = _from_environment(os.environ if environ is None else environ)
    return tuple(
        (f"{section}.{field}", below, above[section][field])
        for section, fields in overrides.items()
        if isinstance(fields, Mapping) and isinstance(above.get(section), Mapping)
        for field, below in fields.items()
        if field in above[section] and above[section][field] != below
    )


def _value(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"the value of {name} is not YAML: {text!r}") from error


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Overrides:
    """`above` over `below`, section by section."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged
