"""Subscribers of a chain's events, in a process of their own: `python -m benchmarks.service.listeners`.

Asked `{port, chain_id, subscribers}` it opens that many streams and answers once each has its snapshot; asked
`{replicas}`, with the ingress replica of each. Asked `{until_version}` or `{until_node}` it answers, when every
subscriber has seen that version, or that node finished, with the frames of each since the last answer:
`[arrived_s, event, data]`, by the wall clock.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import uvloop

from benchmarks.kit.child import answer_questions
from serve_app.http.replica import REPLICA_HEADER

FRAME_TIMEOUT_S = 180.0
BUFFER_BYTES = 4 * 1024 * 1024
FINISHED = ("ready", "failed", "cancelled")

REPLICA = f"{REPLICA_HEADER}:".encode()

Frame = tuple[float, str, dict[str, Any]]


class Subscriber:
    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.replica = ""
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, port: int, chain_id: str) -> None:
        self._task = asyncio.create_task(self._follow(port, chain_id))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, question: dict[str, Any]) -> list[Frame]:
        """The frames up to the one asked for, which later answers do not repeat."""
        async with asyncio.timeout(FRAME_TIMEOUT_S):
            while (end := _end(self.frames, question)) is None:
                self._arrived.clear()
                if self._task is not None and self._task.done():
                    self._task.result()
                    raise RuntimeError("the stream ended")
                await self._arrived.wait()
        taken, self.frames = self.frames[:end], self.frames[end:]
        return taken

    async def _follow(self, port: int, chain_id: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=BUFFER_BYTES)
        try:
            path = f"/v1/chains/{chain_id}/events"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            event = ""
            while line := await reader.readline():
                if line.startswith(b"event: "):
                    event = line[7:].strip().decode()
                elif line.lower().startswith(REPLICA):
                    self.replica = line[len(REPLICA) :].strip().decode()
                elif line.startswith(b"data: "):
                    arrived_s = time.time()
                    self.frames.append((arrived_s, event, json.loads(line[6:])))
                    self._arrived.set()
        finally:
            writer.close()
            self._arrived.set()


def _end(frames: list[Frame], question: dict[str, Any]) -> int | None:
    """How many frames there are up to the one asked for; None if it has not come."""
    finished = False
    for index, (_, event, data) in enumerate(frames):
        if event == "snapshot" and "chain_id" in question:
            return index + 1
        if event == "node" and data["id"] == question.get("until_node") and data["status"] in FINISHED:
            finished = True
        if event == "chain" and (finished or data["version"] >= question.get("until_version", 1 << 62)):
            return index + 1
    return None


async def main() -> None:
    subscribers: list[Subscriber] = []

    async def answer(question: dict[str, Any]) -> Any:
        if "replicas" in question:
            return [subscriber.replica for subscriber in subscribers]
        if "chain_id" in question:
            for old in subscribers:
                await old.stop()
            subscribers[:] = [Subscriber() for _ in range(question["subscribers"])]
            for subscriber in subscribers:
                subscriber.start(question["port"], question["chain_id"])
        return await asyncio.gather(*(subscriber.until(question) for subscriber in subscribers))

    await answer_questions(answer)


if __name__ == "__main__":
    uvloop.run(main())
