"""The load: keep-alive HTTP/1.1 connections on bare sockets, in a process of its own (`python -m
benchmarks.kit.load`), so that the client costs little and costs every server the same.

Asked `{port, method, path, headers, connections, seconds|requests, body_file, status}` it answers with
`{latencies_s, wall_s, cpu_s, body_bytes}`; `cpu_s` is the client's own.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.kit.child import answer_questions

WARM_UP_REQUESTS = 5
BUFFER_BYTES = 4 * 1024 * 1024
ANSWER_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body_bytes: int
    closes: bool


class Connection:
    """One client: a request, its whole answer, the next request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=BUFFER_BYTES)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        answer = await read_answer(reader)
        if answer.closes:
            await self.close()
        return answer

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            await self._streams[1].wait_closed()
            self._streams = None


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """A whole HTTP answer, its body counted and forgotten."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    closes = b"\r\nconnection: close" in head
    if b"\r\ntransfer-encoding: chunked" in head:
        body_bytes = 0
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
            body_bytes += size
        await reader.readline()
        return Answer(status, body_bytes, closes)
    length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return Answer(status, length, closes)


async def load(question: dict[str, Any]) -> dict[str, Any]:
    request = await asyncio.to_thread(_request, question)
    connections = [Connection(question["port"]) for _ in range(question["connections"])]
    for connection in connections:
        for _ in range(question.get("warm_up", WARM_UP_REQUESTS)):
            _check(await connection.exchange(request), question)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    until_s = wall_s + question.get("seconds", float("inf"))
    runs = await asyncio.gather(
        *(
            _repeat(connection, request, until_s, question.get("requests", 0), question)
            for connection in connections
        )
    )
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    for connection in connections:
        await connection.close()
    return {
        "latencies_s": [latency_s for run in runs for latency_s, _ in run],
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "body_bytes": runs[0][-1][1],
    }


async def _repeat(
    connection: Connection, request: bytes, until_s: float, requests: int, question: dict[str, Any]
) -> list[tuple[float, int]]:
    """(latency, answer's bytes) of each request; one at least."""
    made: list[tuple[float, int]] = []
    while not made or (len(made) < requests if requests else time.perf_counter() < until_s):
        began_s = time.perf_counter()
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            answer = await connection.exchange(request)
        made.append((time.perf_counter() - began_s, answer.body_bytes))
        _check(answer, question)
    return made


def _check(answer: Answer, question: dict[str, Any]) -> None:
    if answer.status != question.get("status", 200):
        raise RuntimeError(f"{question['method']} {question['path']} gave {answer.status}")


def _request(question: dict[str, Any]) -> bytes:
    body = Path(question["body_file"]).read_bytes() if "body_file" in question else b""
    headers = {"Host": f"127.0.0.1:{question['port']}", **question.get("headers", {})}
    if body:
        headers["Content-Length"] = str(len(body))
    lines = [f"{question['method']} {question['path']} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


if __name__ == "__main__":
    uvloop.run(answer_questions(load))
