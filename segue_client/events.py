"""Server-sent events as a client reads them: bytes to events, events to the chain as it is now.

The wire format is the WHATWG's (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from segue_client.answers import BadAnswer, Chain, Job, JobSnapshot, Node

# A CR at the end may yet turn out to be half of a CR LF. (Python's own splitlines would also break a line at
# U+2028, which JSON allows inside a string.)
_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")


@dataclass(frozen=True, slots=True)
class ServerEvent:
    event: str
    data: str


class EventDecoder:
    """One connection's stream. `last_id` is what to resume after, `retry_s` the pause that was asked for."""

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        self.retry_s: float | None = None
        self._pending = b""
        self._event = ""
        self._data: list[str] = []
        self._id = last_id

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """The events that `chunk` completes. Half an event at a connection's end counts for nothing."""
        *lines, self._pending = _LINE_END.split(self._pending + chunk)
        for line in lines:
            if line:
                self._field(line.decode(errors="replace"))
                continue
            event = ServerEvent(self._event or "message", "\n".join(self._data))
            had_data, self._event, self._data = bool(self._data), "", []
            self.last_id = self._id
            if had_data:
                yield event

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isdecimal():
                self.retry_s = int(value) / 1000


class LiveChain:
    """A chain kept up to date by its events."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    def apply(self, event: ServerEvent) -> Sequence[Node]:
        """Take in one event; returns the nodes that it tells of, as they are now. Raises BadAnswer."""
        try:
            match event.event:
                case "snapshot":
                    self.chain = Chain.model_validate_json(event.data)
                    return self.chain.nodes
                case "chain":
                    changes: dict[str, Any] = json.loads(event.data)
                    self.chain = Chain.model_validate(self.chain.model_dump() | changes)
                case "node":
                    return [self._put(Node.model_validate_json(event.data))]
                case "progress":
                    return self._progress(json.loads(event.data))
        except (ValueError, TypeError, KeyError) as error:
            raise BadAnswer(f"the server sent a {event.event} event that this client cannot read") from error
        return []

    def _progress(self, data: dict[str, Any]) -> Sequence[Node]:
        known = next((node for node in self.chain.nodes if node.id == data["node_id"]), None)
        # Progress may come late, by another path than the node's end: it never reopens a finished node.
        if known is None or known.is_finished:
            return []
        return [self._put(known.model_copy(update=_progress_in(data)))]

    def _put(self, node: Node) -> Node:
        nodes = {known.id: known for known in self.chain.nodes} | {node.id: node}
        self.chain = self.chain.model_copy(update={"nodes": tuple(nodes.values())})
        return node


class LiveJobs:
    """The unfinished jobs, kept up to date by the events of `GET /v1/events`."""

    def __init__(self) -> None:
        self.unfinished: dict[str, Job] = {}
        self.is_known = False
        """Whether the server has said which there are."""

    def apply(self, event: ServerEvent) -> Sequence[Job]:
        """Take in one event; returns the jobs that it is about, as they are now. Raises BadAnswer."""
        try:
            match event.event:
                case "snapshot":
                    self.is_known = True
                    jobs = JobSnapshot.model_validate_json(event.data).jobs
                    self.unfinished = {job.id: job for job in jobs}
                    return jobs
                case "job":
                    return [self._put(Job.model_validate_json(event.data))]
                case "progress":
                    return self._progress(json.loads(event.data))
        except (ValueError, TypeError, KeyError) as error:
            raise BadAnswer(f"the server sent a {event.event} event that this client cannot read") from error
        return []

    def _progress(self, data: dict[str, Any]) -> Sequence[Job]:
        known = self.unfinished.get(data["job_id"])
        if known is None:
            return []
        return [self._put(known.model_copy(update=_progress_in(data)))]

    def _put(self, job: Job) -> Job:
        if job.is_finished:
            self.unfinished.pop(job.id, None)
        else:
            self.unfinished[job.id] = job
        return job


def _progress_in(data: dict[str, Any]) -> dict[str, Any]:
    place, eta_s = data.get("queue_position"), data.get("eta_s")
    return {
        "progress": float(data["progress"]),
        "queue_position": None if place is None else int(place),
        "eta_s": None if eta_s is None else float(eta_s),
    }
