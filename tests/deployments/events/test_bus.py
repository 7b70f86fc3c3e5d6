"""Notices: in order, waited for, honest about what was lost; and a dead bus harms nobody."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from deployments.events.bus import (
    KEPT_NOTICES,
    Announcer,
    Batch,
    ChainChanged,
    Cursor,
    HubBus,
    JobProgressed,
    LocalBus,
    Notice,
)
from tests.support.patience import PATIENCE_S


def changed(version: int) -> ChainChanged:
    return ChainChanged("t", "c", version)


async def start_of(bus: LocalBus) -> Cursor:
    return (await bus.after(None, 0.0)).cursor


async def test_notices_come_in_order_and_once() -> None:
    bus = LocalBus()
    cursor = await start_of(bus)
    sent: list[Notice] = [changed(1), JobProgressed("t", "j", 1, "c", "n", 0.5), changed(2), changed(2)]
    for notice in sent[:3]:
        await bus.publish(notice)
    first = await bus.after(cursor, 0.0)
    await bus.publish(sent[3])
    second = await bus.after(first.cursor, 0.0)
    assert [*first.notices, *second.notices] == sent
    assert first.complete
    assert second.complete
    assert (await bus.after(second.cursor, 0.0)).notices == ()


async def test_listeners_do_not_take_from_each_other() -> None:
    bus = LocalBus()
    cursor = await start_of(bus)
    await bus.publish(changed(1))
    batches = [await bus.after(cursor, 0.0) for _ in range(3)]
    assert [batch.notices for batch in batches] == [(changed(1),)] * 3


async def test_a_new_listener_hears_from_now_on_and_is_told_to_look_once() -> None:
    bus = LocalBus()
    await bus.publish(changed(1))
    begun = await bus.after(None, 60.0)
    assert (begun.notices, begun.complete) == ((), False)
    await bus.publish(changed(2))
    assert (await bus.after(begun.cursor, 0.0)).notices == (changed(2),)


async def test_all_who_wait_are_woken_at_once() -> None:
    bus = LocalBus()
    cursor = await start_of(bus)
    waiting = [asyncio.create_task(bus.after(cursor, 60.0)) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in waiting)
    await bus.publish(changed(1))
    async with asyncio.timeout(PATIENCE_S):
        batches = await asyncio.gather(*waiting)
    assert [batch.notices for batch in batches] == [(changed(1),)] * 5


async def test_waiting_ends_with_the_time_and_misses_nothing_after_it() -> None:
    bus = LocalBus()
    cursor = await start_of(bus)
    began_s = time.monotonic()
    nothing = await bus.after(cursor, 0.05)
    assert time.monotonic() - began_s >= 0.04
    assert nothing == Batch(cursor, (), complete=True)
    await bus.publish(changed(1))
    assert (await bus.after(nothing.cursor, 0.0)).notices == (changed(1),)


@pytest.mark.parametrize(("published", "complete"), [(KEPT_NOTICES, True), (KEPT_NOTICES + 1, False)])
async def test_who_comes_too_late_is_told_so(published: int, complete: bool) -> None:
    bus = LocalBus()
    cursor = await start_of(bus)
    for version in range(published):
        await bus.publish(changed(version))
    batch = await bus.after(cursor, 0.0)
    assert batch.complete is complete
    assert len(batch.notices) == KEPT_NOTICES
    assert batch.notices[-1] == changed(published - 1)
    caught_up = await bus.after(batch.cursor, 0.0)
    assert (caught_up.notices, caught_up.complete) == ((), True)


async def test_a_bus_that_began_anew_says_so() -> None:
    old, new = LocalBus(), LocalBus()
    cursor = await start_of(old)
    await old.publish(changed(1))
    await new.publish(changed(2))
    batch = await new.after(cursor, 60.0)
    assert not batch.complete
    assert batch.cursor.epoch != cursor.epoch
    await new.publish(changed(3))
    assert (await new.after(batch.cursor, 0.0)).notices == (changed(3),)


async def test_a_cursor_from_the_future_is_not_believed() -> None:
    bus = LocalBus()
    cursor = await start_of(bus)
    assert not (await bus.after(Cursor(cursor.epoch, 99), 60.0)).complete


async def test_an_announcer_sends_without_making_the_sender_wait() -> None:
    bus = LocalBus()
    cursor = await start_of(bus)
    announcer = Announcer(bus)
    for version in range(10):
        announcer.announce(changed(version))
    batch = await bus.after(cursor, 5.0)
    assert batch.notices == tuple(changed(version) for version in range(10))


class DeadBus:
    def __init__(self) -> None:
        self.tries = 0

    async def publish(self, notice: Notice) -> None:
        self.tries += 1
        raise ConnectionError("the hub is dead")

    async def after(self, cursor: Cursor | None, timeout_s: float) -> Batch:
        raise ConnectionError("the hub is dead")


async def test_an_announcer_swallows_a_dead_bus() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    bus = DeadBus()
    announcer = Announcer(bus)
    announcer.announce(changed(1))
    announcer.announce(changed(2))
    await asyncio.sleep(0.01)
    assert bus.tries == 2
    assert not announcer._sending
    assert reported == []


class FakeHandle:
    """What a Serve handle is to its user: `handle.method.remote(...)`, awaited."""

    def __init__(self, bus: LocalBus) -> None:
        self._bus = bus

    def __getattr__(self, method: str) -> Any:
        return type("Method", (), {"remote": staticmethod(getattr(self._bus, method))})


async def test_the_hubs_bus_is_the_bus_behind_its_handle() -> None:
    hub = LocalBus()
    bus = HubBus(FakeHandle(hub))
    begun = await bus.after(None, 0.0)
    await bus.publish(changed(1))
    assert (await bus.after(begun.cursor, 1.0)).notices == (changed(1),)
    assert (await hub.after(begun.cursor, 0.0)).notices == (changed(1),)
