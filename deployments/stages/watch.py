"""What looks on while stages work, and measures them. It follows the context, so no stage has to pass it on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol


class Watch(Protocol):
    """May not block."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Around one step of a job; what it raises passes through."""
        ...

    def audible(self) -> None:
        """A take's new audio has begun."""
        ...

    def seam(self, level_db: float) -> None:
        """The step in level from a take's context to the take, with its sign."""
        ...


class _Nobody:
    def stage(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def audible(self) -> None:
        pass

    def seam(self, level_db: float) -> None:
        pass


_watch: ContextVar[Watch] = ContextVar("segue_watch", default=_Nobody())  # noqa: B039 - it has no state


def watch() -> Watch:
    """The one of this context."""
    return _watch.get()


@contextmanager
def watched_by(looking: Watch) -> Iterator[None]:
    token = _watch.set(looking)
    try:
        yield
    finally:
        _watch.reset(token)
