"""A store whose network loses requests and replies as a test tells it to."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from storage.stores.memory import MemoryStore
from storage.stores.object_store import Condition, PreconditionFailed, StoreUnavailable


class Luck(Enum):
    FINE = auto()
    REQUEST_LOST = auto()
    REPLY_LOST = auto()
    REPLY_LOST_AND_RETRIED_BELOW = auto()
    """The client library retried by itself and was told that the precondition fails: by its own success."""


class UnreliableStore(MemoryStore):
    """Puts meet `luck` one after another, then are fine. `puts` counts those that were tried."""

    def __init__(self, luck: Iterable[Luck] = ()) -> None:
        super().__init__()
        self._luck = iter(luck)
        self.puts = 0

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        self.puts += 1
        luck = next(self._luck, Luck.FINE)
        if luck is Luck.REQUEST_LOST:
            raise StoreUnavailable("the request was lost")
        etag = await super().put(key, data, condition)
        if luck is Luck.REPLY_LOST:
            raise StoreUnavailable("the reply was lost")
        if luck is Luck.REPLY_LOST_AND_RETRIED_BELOW:
            raise PreconditionFailed(key)
        return etag
