"""What the work in hand belongs to: the ids that every line of the log and every span carries.

They follow the context: into tasks and `asyncio.to_thread`, and through `carried` into other processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Final

from deployments.telemetry import traces

IDS: Final = ("request_id", "tenant", "chain_id", "node_id", "job_id")
_TRACEPARENT: Final = "traceparent"

_ids: ContextVar[Mapping[str, str]] = ContextVar("segue_ids", default=MappingProxyType({}))


def current_ids() -> Mapping[str, str]:
    """Those that are known here, by their names in `IDS`."""
    return _ids.get()


def bind(**ids: str | None) -> Token[Mapping[str, str]]:
    """Add ids for the rest of this context; None adds nothing. `release` takes them back."""
    return _ids.set({**_ids.get(), **{name: value for name, value in ids.items() if value is not None}})


def release(token: Token[Mapping[str, str]]) -> None:
    _ids.reset(token)


@contextmanager
def bound(**ids: str | None) -> Iterator[None]:
    token = bind(**ids)
    try:
        yield
    finally:
        release(token)


def carried() -> dict[str, str]:
    """The ids and the current span, as another process takes them (`continued`)."""
    parent = traces.traceparent()
    return {**_ids.get(), **({_TRACEPARENT: parent} if parent is not None else {})}


def carried_by_request() -> dict[str, str]:
    """What a record keeps of the request that makes it (`storage.domain.jobs.Job.origin`): its id and its span."""
    kept = ("request_id", _TRACEPARENT)
    return {name: value for name, value in carried().items() if name in kept}


@contextmanager
def continued(origin: Mapping[str, str] | None, name: str, **attributes: str) -> Iterator[None]:
    """A span of this process's own below the one that `origin` (see `carried`) was taken in, with its ids."""
    origin = origin or {}
    ids = {key: origin.get(key) for key in IDS}
    with bound(**ids), traces.span(name, parent=origin.get(_TRACEPARENT), **attributes):
        traces.describe(**current_ids())
        yield


def open_span(origin: Mapping[str, str] | None, name: str) -> Callable[[], None]:
    """As `continued`, but current nowhere, for a generator, whose caller's context is not its own: returns what
    ends the span."""
    origin = origin or {}
    ids = {key: value for key, value in origin.items() if key in IDS}
    return traces.opened(name, parent=origin.get(_TRACEPARENT), **ids)
