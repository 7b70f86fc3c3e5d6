"""Whether a value decoded from a record has the types that its dataclass declares, throughout."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def require_types(value: Any) -> None:
    """Check a dataclass and all dataclasses in it. An int serves as a float, a bool as neither; numbers are finite.

    Raises TypeError naming the first field that is wrong.
    """
    kind: Any = type(value)
    for name, allowed in _declared(kind):
        found = getattr(value, name)
        wrong_bool = isinstance(found, bool) and bool not in allowed and object not in allowed
        if not isinstance(found, allowed) or wrong_bool:
            raise TypeError(f"{type(value).__name__}.{name} is a {type(found).__name__}")
        if isinstance(found, float) and not math.isfinite(found):
            raise TypeError(f"{type(value).__name__}.{name} is {found}")
        if isinstance(found, tuple):
            for element in found:
                if is_dataclass(element):
                    require_types(element)
                elif not isinstance(element, str):  # tuples hold records or names
                    raise TypeError(f"{type(value).__name__}.{name} holds a {type(element).__name__}")
        elif is_dataclass(found):
            require_types(found)


@cache
def _declared(kind: Any) -> tuple[tuple[str, tuple[type, ...]], ...]:
    hints = get_type_hints(kind)
    return tuple((field.name, tuple(_allowed(hints[field.name]))) for field in fields(kind))


def _allowed(hint: Any) -> Iterator[type]:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        for part in get_args(hint):
            yield from _allowed(part)
    elif hint is Any:
        yield object
    elif hint is float:
        yield from (float, int)
    elif hint is None:
        yield NoneType
    else:
        yield origin or hint
