"""Fairness between those who share something: turns at work that waits, and shares of places.

Both are counts and no clock, so they do the same in a test as under load. Not safe to call from several threads.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Items that wait, of several owners. The next is the first item of the owner that has had the fewest turns,
    each counted as 1 / `weight`: start-time fair queueing with items of one size. So whoever has one item waiting
    gets its turn after at most one item of each other owner, however many those have.

    An owner that comes anew begins where the others are: having waited for nothing is no credit.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}
        self._had: dict[str, float] = {}
        self._weights: dict[str, int] = {}
        self._now = 0.0

    def __len__(self) -> int:
        return sum(len(items) for items in self._waiting.values())

    def __iter__(self) -> Iterator[T]:
        """All items, in no particular order."""
        for items in self._waiting.values():
            yield from items

    def in_order(self) -> list[T]:
        """All items, in the order in which they would be taken if no more came."""
        had = {owner: self._had[owner] for owner in self._waiting}
        left = {owner: deque(items) for owner, items in self._waiting.items()}
        order = []
        while left:
            owner = min(left, key=lambda each: had[each])
            order.append(left[owner].popleft())
            had[owner] += 1.0 / self._weights[owner]
            if not left[owner]:
                del left[owner]
        return order

    def append(self, owner: str, item: T, weight: int = 1) -> None:
        self._weights[owner] = max(1, weight)
        if owner not in self._waiting:
            self._waiting[owner] = deque()
            self._had[owner] = max(self._now, self._had.get(owner, 0.0))
        self._waiting[owner].append(item)

    def owners(self) -> list[str]:
        """Those with something waiting, in the order of their turns."""
        return sorted(self._waiting, key=lambda owner: self._had[owner])

    def first(self, owner: str) -> T:
        """The item of this owner that is next. Raises KeyError for one without items."""
        return self._waiting[owner][0]

    def take(self, owner: str) -> T:
        """Remove that item: the owner has had a turn."""
        self._now = self._had[owner]
        self._had[owner] += 1.0 / self._weights[owner]
        item = self._waiting[owner].popleft()
        self._drop_if_empty(owner)
        return item

    def remove(self, item: T) -> None:
        """Remove an item that is not wanted any more: that was no turn. Raises ValueError where it is not there."""
        for owner, items in self._waiting.items():
            if item in items:
                items.remove(item)
                self._drop_if_empty(owner)
                return
        raise ValueError("no such item waits")

    def _drop_if_empty(self, owner: str) -> None:
        if not self._waiting[owner]:
            del self._waiting[owner]
            # What it has had is forgotten once the others have had as much: owners come and go without end.
            self._had = {
                each: had for each, had in self._had.items() if each in self._waiting or had > self._now
            }
            self._weights = {each: self._weights[each] for each in self._had}


class Shares:
    """`places` that several holders share. A holder gets another one as long as it has fewer than four times
    what is free (the dynamic threshold of switches with shared buffers): alone it may have about four fifths,
    and there is room for who comes next."""

    REACH = 4

    def __init__(self, places: int) -> None:
        self.places = places
        self._held: Counter[Hashable] = Counter()

    @property
    def free(self) -> int:
        return self.places - self._held.total()

    def held(self, holder: Hashable) -> int:
        return self._held[holder]

    def has_room(self, holder: Hashable, *, is_alone: bool = False) -> bool:
        """`is_alone`: nobody else can come, so it may have all."""
        return self.free > 0 if is_alone else self._held[holder] < self.REACH * self.free

    def take(self, holder: Hashable, *, is_alone: bool = False) -> bool:
        """Whether the holder has one place more now."""
        if not self.has_room(holder, is_alone=is_alone):
            return False
        self._held[holder] += 1
        return True

    def give_back(self, holder: Hashable) -> None:
        self._held[holder] -= 1
        if self._held[holder] <= 0:
            del self._held[holder]
