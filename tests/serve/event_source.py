"""A browser's `EventSource` on one chain, that comes back after the last id whenever its stream is cut."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import httpx

from segue_client.events import EventDecoder, ServerEvent

PAUSE_S = 0.5
# Heartbeats come every 15 s: three missed ones are a dead connection, which a browser would not notice.
TIMEOUT = httpx.Timeout(connect=5.0, read=45.0, write=5.0, pool=5.0)


class EventSource:
    """Listens in a thread of its own until it is closed, and keeps what it was told.

    Where a browser gives up, which is at any answer but 200, it goes on as a page does that opens a new one. With
    `everything` it is the tenant's stream, with this chain open in it.
    """

    def __init__(self, url: str, chain_id: str, *, everything: bool = False) -> None:
        self.chain_id = chain_id
        self._url = f"{url}/v1/chains/{chain_id}/events"
        if everything:
            self._url = f"{url}/v1/events?chain={chain_id}"
        self.jobs: dict[str, str] = {}
        """Of the tenant's stream: each job's state as last told."""
        self._closed = threading.Event()
        self._told = threading.Condition()
        self._last_id: str | None = None
        self.nodes: dict[str, dict[str, Any]] = {}
        """Each node as last told."""
        self.hashes: dict[str, set[str]] = defaultdict(set)
        """Of all audio that a node was ever told to have."""
        self.version = 0
        self.streams = 0
        self._thread = threading.Thread(target=self._listen, daemon=True, name=f"events of {chain_id}")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Told nothing more. The thread ends at the stream's next byte, a heartbeat at the latest."""
        self._closed.set()

    def wait_until(self, holds: Callable[[EventSource], bool], timeout_s: float, what: str) -> None:
        """Raises TimeoutError with what was told."""
        deadline_s = time.monotonic() + timeout_s
        with self._told:
            while not holds(self):
                if not self._told.wait(deadline_s - time.monotonic()):
                    raise TimeoutError(f"not told in {timeout_s:g} s that {what}; told {self.nodes}")

    def _listen(self) -> None:
        with httpx.Client(timeout=TIMEOUT, trust_env=False) as http:
            while not self._closed.is_set():
                with suppress(httpx.TransportError):
                    self._listen_once(http)
                self._closed.wait(PAUSE_S)

    def _listen_once(self, http: httpx.Client) -> None:
        headers = {"Last-Event-ID": self._last_id} if self._last_id is not None else {}
        decoder = EventDecoder(self._last_id)
        with http.stream("GET", self._url, headers=headers) as answer:
            if answer.status_code != httpx.codes.OK:
                return
            with self._told:
                self.streams += 1
            try:
                for chunk in answer.iter_bytes():
                    for event in decoder.feed(chunk):
                        self._take_in(event)
                    if self._closed.is_set():
                        return
            finally:
                self._last_id = decoder.last_id

    def _take_in(self, event: ServerEvent) -> None:
        content = json.loads(event.data)
        with self._told:
            match event.event:
                case "snapshot" if "chains" in content:
                    self.jobs |= {job["id"]: job["state"] for job in content["jobs"]}
                case "job":
                    self.jobs[content["id"]] = content["state"]
                case "snapshot" | "open":
                    self.version = content["version"]
                    for node in content["nodes"]:
                        self._put(node)
                case "node":
                    self._put(content)
                case "chain" if content.get("id", self.chain_id) == self.chain_id:
                    self.version = content["version"]
            self._told.notify_all()

    def _put(self, node: dict[str, Any]) -> None:
        self.nodes[node["id"]] = node
        if node["audio"] is not None:
            self.hashes[node["id"]].add(node["audio"]["sha256"])
