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
    for name, allowed, takes_bool, may_nest in _declared(kind):
        found = getattr(value, name)
        if not isinstance(found, allowed) or (not takes_bool and isinstance(found, bool)):
            raise TypeError(f"{kind.__name__}.{name} is a {type(found).__name__}")
        if isinstance(found, float) and not math.isfinite(found):
            raise TypeError(f"{kind.__name__}.{name} is {found}")
        if not may_nest:
            continue
        if isinstance(found, tuple):
            for element in found:
                if is_dataclass(element):
                    require_types(element)
                elif not isinstance(element, str):  # tuples hold records or names
                    raise TypeError(f"{kind.__name__}.{name} holds a {type(element).__name__}")
        elif is_dataclass(found):
            require_types(found)


@cache
def _declared(kind: Any) -> tuple[tuple[str, tuple[type, ...], bool, bool], ...]:
    """Of each field its name, its types, whether a bool is one of them, and whether a value may have dataclasses in
    it: of most it may not, and a chain of a thousand nodes has tens of thousands of fields."""
    hints = get_type_hints(kind)
    declared = []
    for field in fields(kind):
        allowed = tuple(_allowed(hints[field.name]))
        takes_bool = bool in allowed or object in allowed
        may_nest = any(each in (tuple, object) or is_dataclass(each) for each in allowed)
        declared.append((field.name, allowed, takes_bool, may_nest))
    return tuple(declared)


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
