"""The files below `ops/`, read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from configs.environment import load_settings
from configs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
OPS = ROOT / "ops"


def documents(name: str) -> list[dict[str, Any]]:
    """The YAML documents of one file."""
    return list(yaml.safe_load_all((OPS / name).read_text()))


def deploy_file_settings(deploy_file: Mapping[str, Any], **environ: str) -> Settings:
    """Raises ValueError for settings or variables that there are not."""
    (application,) = deploy_file["applications"]
    args = application["args"]
    return load_settings(args.get("settings"), profile=args["profile"], environ=environ)


def variables_of(text: str) -> dict[str, str]:
    """Lines `NAME=value`, as an env file has them."""
    pairs = (line.partition("=") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def interpolated(text: str, values: Mapping[str, str]) -> str:
    """As compose replaces `${NAME:-default}` and `${NAME:?error}`. Raises KeyError for one that must be given."""

    def value(found: re.Match[str]) -> str:
        name, operator, rest = found.group(1, 2, 3)
        if values.get(name):
            return values[name].replace("\\", "\\\\").replace('"', '\\"')
        if operator == ":-":
            return rest
        raise KeyError(name)

    return re.sub(r"\$\{([A-Z0-9_]+)(:[-?])([^}]*)\}", value, text)


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """(instruction, its arguments) of a Dockerfile, lines joined."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, rest.strip()


def is_pinned(image: str) -> bool:
    """Whether an image is named with a version, and not with one that moves."""
    name, _, tag = image.rpartition(":")
    return bool(name) and "/" not in tag and bool(re.search(r"[0-9]+\.[0-9]+", tag))
