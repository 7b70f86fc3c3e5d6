"""The page of all settings, made from their definitions: `python -m configs.document > docs/configuration.md`."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from configs.environment import SHORTHANDS
from configs.profiles import PROFILES
from configs.settings import Settings

_HEAD = """# Configuration

Made from `configs/settings.py` by `python -m configs.document`; a test keeps it so.

Precedence: environment, then the deploy file (`args: {settings: {section: {field: value}}}`), then the profile,
then the defaults below. An unknown name is an error. In the environment a value is YAML:
`SEGUE_HTTP__CORS_ORIGINS='[https://a.example]'`.
A variable that overrides the deploy file is named in the log when the server starts.

## Shorthands

| variable | stands for |
|---|---|
"""


def page() -> str:
    """The whole page, as Markdown."""
    parts = [
        _HEAD
        + "".join(
            "| " + ", ".join(f"`{each}`" for each in name.split(", ")) + f" | {text} |\n"
            for name, text in SHORTHANDS.items()
        )
    ]
    parts.append(_profiles())
    top = [(name, field) for name, field in Settings.model_fields.items() if not _is_section(field)]
    parts.append(_table("Settings of no section", None, "", top))
    for name, field in Settings.model_fields.items():
        if _is_section(field):
            section: type[BaseModel] = field.annotation  # type: ignore[assignment]
            doc = " ".join((section.__doc__ or "").split())
            parts.append(_table(name, name, doc, list(section.model_fields.items())))
    return "\n".join(parts)


def _table(title: str, section: str | None, doc: str, fields: list[tuple[str, FieldInfo]]) -> str:
    rows = "".join(
        f"| `{_variable(section, name)}` | {_default(field)} | {_kind(field)} | {_text(field)} |\n"
        for name, field in fields
    )
    head = f"## `{title}`\n\n" if section else f"## {title}\n\n"
    return (
        head + (f"{doc}\n\n" if doc else "") + "| variable | default | values | |\n|---|---|---|---|\n" + rows
    )


def _profiles() -> str:
    rows = "".join(
        f"| `{profile}` | "
        + ", ".join(f"`{name}: {_shown(value)}`" for name, value in _flat(values))
        + " |\n"
        for profile, values in PROFILES.items()
    )
    return "## Profiles\n\n`profile` in a deploy file's `args`.\n\n| profile | sets |\n|---|---|\n" + rows


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _variable(section: str | None, name: str) -> str:
    return f"SEGUE_{section.upper()}__{name.upper()}" if section else f"SEGUE_{name.upper()}"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "–"
    return f"`{_shown(field.default)}`"


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        given = {name: each for name, each in value if each != type(value).model_fields[name].get_default()}
        return "{" + ", ".join(f"{name}: {_shown(each)}" for name, each in given.items()) + "}"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_shown(each) for each in value) + "]"
    if value is None or isinstance(value, bool):
        return str(value).lower() if value is not None else "null"
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1e6 else str(int(value))
    return str(value)


def _kind(field: FieldInfo) -> str:
    """The values that a field takes: its choices, or its type and bounds."""
    bounds = [
        f"{sign} {limit:g}"
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        for limit in (getattr(each, name, None) for each in field.metadata)
        if limit is not None
    ]
    return ", ".join([_type(field.annotation), *bounds])


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        named = [_type(each) for each in arguments if each is not type(None)]
        return " or ".join([*named, "null"])
    if origin is Annotated:
        return _type(arguments[0])
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    names = {str: "text", int: "whole number", float: "number", bool: "true, false"}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "`{" + ", ".join(annotation.model_fields) + "}`"
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _text(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


if __name__ == "__main__":
    print(page(), end="")
