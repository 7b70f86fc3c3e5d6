"""Clients that follow a chain by its events, and hold what they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.harness import Running, listening
from tests.support.patience import PATIENCE_S


@dataclass(frozen=True)
class Frame:
    """One frame as it came. A comment is a frame of that name."""

    event: str
    data: dict[str, Any] = field(default_factory=dict)
    id: int | str | None = None


def frames_in(text: str) -> list[Frame]:
    return [parsed(block) for block in text.split("\n\n")[:-1]]


def parsed(block: str) -> Frame:
    if block.startswith(":"):
        return Frame("comment")
    fields = dict(line.split(": ", 1) for line in block.split("\n"))
    if "retry" in fields:
        return Frame("retry", {"ms": int(fields["retry"])})
    place = fields.get("id")
    number = int(place) if place is not None and place.isdecimal() else place
    return Frame(fields["event"], json.loads(fields["data"]), number)


class Replica:
    """A client's own copy of a chain, as the events make it; `version` is where it would resume."""

    def __init__(self, chain: dict[str, Any] | None = None) -> None:
        self.chain = dict(chain or {})
        self.version: int = self.chain.get("version", 0)
        self.frames: list[Frame] = []

    def take(self, frame: Frame) -> None:
        self.frames.append(frame)
        if frame.event == "snapshot":
            self.chain = dict(frame.data)
        elif frame.event == "node":
            nodes = {node["id"]: node for node in self.chain["nodes"]} | {frame.data["id"]: frame.data}
            self.chain["nodes"] = list(nodes.values())
        elif frame.event == "chain":
            self.chain |= {key: value for key, value in frame.data.items() if key != "deleted"}
        if frame.id is not None:
            self.version = frame.id

    @property
    def names(self) -> list[str]:
        return [frame.event for frame in self.frames if frame.event not in ("comment", "retry", "progress")]


class Follower:
    """A stream that is read in the background for as long as the context lasts."""

    def __init__(self) -> None:
        self.replica = Replica()
        self.ended = asyncio.Event()
        self._grown = asyncio.Condition()

    async def read(self, response: httpx.Response) -> None:
        pending = ""
        async for text in response.aiter_text():
            *blocks, pending = (pending + text).split("\n\n")
            async with self._grown:
                for block in blocks:
                    self.replica.take(parsed(block))
                self._grown.notify_all()
        self.ended.set()

    async def until_at(self, version: int, timeout_s: float = PATIENCE_S) -> Replica:
        async with asyncio.timeout(timeout_s), self._grown:
            await self._grown.wait_for(lambda: self.replica.version >= version)
        return self.replica


@asynccontextmanager
async def following(app: Running, chain_id: str, since: int | None = None) -> AsyncIterator[Follower]:
    headers = {} if since is None else {"Last-Event-ID": str(since)}
    async with (
        listening(app.api) as http,
        http.stream("GET", f"/v1/chains/{chain_id}/events", headers=headers, timeout=PATIENCE_S) as response,
    ):
        assert response.status_code == 200
        follower = Follower()
        reading = asyncio.create_task(follower.read(response))
        try:
            yield follower
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
