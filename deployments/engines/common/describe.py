"""Records as JSON-able values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

HIDDEN: Mapping[str, bool] = {"hidden": True}
"""The metadata of a dataclass's field that is not shown."""


def plain(value: Any, *, digits: int | None = None) -> Any:
    """Dataclasses as dicts with a key for each field that is not `HIDDEN`, tuples as lists, enumerations as their
    values, floats rounded where `digits` says to how many places."""
    if is_dataclass(value) and not isinstance(value, type):
        shown = (each.name for each in fields(value) if not each.metadata.get("hidden"))
        return {name: plain(getattr(value, name), digits=digits) for name in shown}
    if isinstance(value, Mapping):
        return {name: plain(each, digits=digits) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each, digits=digits) for each in value]
    if isinstance(value, Enum):
        return value.value
    return round(value, digits) if digits is not None and isinstance(value, float) else value


class Described:
    """A dataclass that can be shown."""

    __slots__ = ()

    def describe(self) -> dict[str, Any]:
        """A JSON-able dict, as `plain` makes it."""
        described: dict[str, Any] = plain(self)
        return described
