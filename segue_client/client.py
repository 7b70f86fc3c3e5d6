"""A small client of Segue's HTTP surface: typed answers, safe retries, events that survive a lost connection.

It knows nothing of terminals (`commands`, `terminal`) and nothing of the server's own code. What takes a job and
ends in files or facts (exports, stems, analyses, tracks taken apart) is in `works`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from segue_client.answers import (
    Branch,
    Chain,
    ChainPage,
    Crop,
    Damaged,
    Diff,
    Job,
    JobPage,
    ModelList,
    Node,
    NoSuchId,
    Record,
    Rejected,
    Unreachable,
    WorkFailed,
    check,
    matching,
)
from segue_client.connection import Connection, new_key
from segue_client.events import EventDecoder, LiveChain, LiveJobs, ServerEvent
from segue_client.peaks import Peaks, read_peaks

T = TypeVar("T")
P = TypeVar("P", ChainPage, JobPage)

JOB_POLL_S = 0.5
# Heartbeats come every 15 s: three missed ones are a dead connection.
_EVENTS_TIMEOUT = httpx.Timeout(connect=5.0, read=45.0, write=10.0, pool=5.0)
# The first samples come when it is the take's turn.
_LISTENING_TIMEOUT = httpx.Timeout(connect=5.0, read=1800.0, write=10.0, pool=5.0)
_ID = re.compile(r"[A-Za-z0-9_-]+")


class SegueClient:
    """One server; blocking; a context manager. `key` is the access key, where the server asks for one. Retries as
    `Connection` does. Every method raises ClientError."""

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        key: str | None = None,
    ) -> None:
        self.connection = Connection(url, transport, sleep, key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.http.close()

    def models(self) -> ModelList:
        return self.connection.ask(ModelList, "GET", "/v1/models")

    def chains(self) -> Iterator[Chain | Damaged]:
        """All chains, the newest first, page by page; of each page those that cannot be read come last."""
        for page in self._pages(ChainPage, "/v1/chains"):
            yield from page.chains
            yield from page.damaged

    def chain(self, start: str) -> Chain:
        """The chain whose id is `start`, or the only one whose id begins so."""
        return self._named(start, "chain", self.chains, self._read_chain)

    def delete_chain(self, chain_id: str) -> None:
        """Deletes a chain that is there, a damaged one too; its unfinished jobs are cancelled."""
        try:
            self.connection.order("DELETE", f"/v1/chains/{chain_id}")
        except Rejected as rejected:
            # It is gone: the answer to an attempt before this one may have been lost.
            if rejected.status != httpx.codes.NOT_FOUND:
                raise

    def rename_chain(self, chain_id: str, title: str) -> Chain:
        return self.connection.ask(Chain, "PATCH", f"/v1/chains/{chain_id}", json={"title": title})

    def jobs(self) -> Iterator[Job | Damaged]:
        """All jobs, the newest first, page by page; of each page those that cannot be read come last."""
        for page in self._pages(JobPage, "/v1/jobs"):
            yield from page.jobs
            yield from page.damaged

    def job(self, start: str) -> Job:
        """The job whose id is `start`, or the only one whose id begins so."""
        return self._named(start, "job", self.jobs, self._read_job)

    def cancel_job(self, start: str) -> Job:
        """Cancels an unfinished job; returns it as it is then. One that has ended stays as it is."""

        def cancel(job_id: str) -> Job:
            return self.connection.ask(Job, "DELETE", f"/v1/jobs/{job_id}")

        return self._named(start, "job", self.jobs, cancel)

    def finished_job(self, job_id: str, on_progress: Callable[[Job], None]) -> Job:
        """The job once it has succeeded, failed or been cancelled."""
        while True:
            job = self._read_job(job_id)
            on_progress(job)
            if job.is_finished:
                return job
            self.connection.sleep(JOB_POLL_S)

    def upload(self, file: Path, title: str | None = None) -> Chain:
        """A new chain with this audio file as its root. Raises OSError if it cannot be read."""
        fields = {} if title is None else {"title": title}
        return self.connection.send_file(Chain, "/v1/chains", file, fields)

    def generate(self, wanted: Mapping[str, Any]) -> Chain:
        """A new chain whose root is made from words and pending at first; `wanted` is the request's body."""
        return self.connection.ask(Chain, "POST", "/v1/chains", headers=new_key(), json=dict(wanted))

    def branch(self, chain_id: str, parent_id: str, wanted: Mapping[str, Any]) -> Branch:
        """Continuations of `parent_id`; `wanted` is the rest of the request's body. The nodes are pending at first:
        see `follow`."""
        body = {"parent_id": parent_id, **wanted}
        return self.connection.ask(
            Branch, "POST", f"/v1/chains/{chain_id}/nodes", headers=new_key(), json=body
        )

    def commit(self, chain_id: str, node_id: str) -> Chain:
        return self._decide(chain_id, node_id, "commit")

    def uncommit(self, chain_id: str, node_id: str) -> Chain:
        return self._decide(chain_id, node_id, "uncommit")

    def discard(self, chain_id: str, node_id: str) -> Chain:
        return self._decide(chain_id, node_id, "discard")

    def restore(self, chain_id: str, node_id: str) -> Chain:
        return self._decide(chain_id, node_id, "restore")

    def cancel_others(self, chain_id: str, node_id: str) -> Chain:
        """Cancels the unfinished takes of the request that made this one, but not this one."""
        return self._decide(chain_id, node_id, "cancel_others")

    def duplicate(self, chain_id: str, wanted: Mapping[str, Any]) -> Chain:
        """A chain of its own with all of this one, or with `node_id`, the path to it and all below; `title`."""
        path = f"/v1/chains/{chain_id}/duplicate"
        return self.connection.ask(Chain, "POST", path, headers=new_key(), json=dict(wanted))

    def diff(self, chain_id: str, a: str, b: str) -> Diff:
        """How the lines up to two nodes differ after the last node that they share."""
        return self.connection.ask(Diff, "GET", f"/v1/chains/{chain_id}/diff", params={"a": a, "b": b})

    def undo(self, chain_id: str) -> Chain:
        """Takes the last decision back."""
        return self.connection.ask(Chain, "POST", f"/v1/chains/{chain_id}/undo", headers=new_key())

    def redo(self, chain_id: str) -> Chain:
        """Does again what was undone last."""
        return self.connection.ask(Chain, "POST", f"/v1/chains/{chain_id}/redo", headers=new_key())

    def crop(self, chain_id: str, node_id: str, wanted: Mapping[str, Any]) -> Node:
        """A candidate beside the node, of its audio from `from_s` to `to_s`."""
        path = f"/v1/chains/{chain_id}/nodes/{node_id}/crop"
        return self.connection.ask(Crop, "POST", path, headers=new_key(), json=dict(wanted)).node

    def mark(self, chain_id: str, node_id: str, marks: Mapping[str, Any]) -> Node:
        """The node with this `title`, `stars` or `note`; what is left out stays as it is."""
        return self.connection.ask(Node, "PATCH", f"/v1/chains/{chain_id}/nodes/{node_id}", json=dict(marks))

    def provenance(self, chain_id: str, node_id: str) -> dict[str, Any]:
        """All that a re-render of the node needs, as the server's documentation has it."""
        path = f"/v1/chains/{chain_id}/nodes/{node_id}/provenance"
        return self.connection.ask(Record, "GET", path).root

    def download(self, chain_id: str, node_id: str, target: Path, audio_format: str = "wav") -> None:
        """The node's own audio as a file; `target` is replaced only once all of it is here."""
        path = f"/v1/chains/{chain_id}/nodes/{node_id}/audio"
        self.connection.fetch(path, target, {"format": audio_format})

    def original(self, chain_id: str, node_id: str, target: Path) -> None:
        """The file of an uploaded node, byte for byte as it came."""
        self.connection.fetch(f"/v1/chains/{chain_id}/nodes/{node_id}/original", target)

    def line(self, chain_id: str, node_id: str, target: Path) -> None:
        """The line from the root to the node as a 32-bit float WAV, its seams rendered."""
        self.connection.fetch(f"/v1/chains/{chain_id}/nodes/{node_id}/line/audio", target)

    def peaks(self, chain_id: str, node_id: str) -> Peaks:
        """The outline of the node's waveform."""

        def fetch() -> Peaks:
            response = self.connection.http.get(f"/v1/chains/{chain_id}/nodes/{node_id}/peaks")
            check(response)
            return read_peaks(response.content)

        return self.connection.retrying(fetch)

    def listen(self, chain_id: str, node: Node) -> Generator[bytes, None, None]:
        """The node's own audio as a WAV, in pieces, as it comes if it is still being made."""
        of_node = f"/v1/chains/{chain_id}/nodes/{node.id}/audio"
        path = of_node if node.job_id is None else f"/v1/jobs/{node.job_id}/audio"
        try:
            with self.connection.http.stream(
                "GET", path, timeout=_LISTENING_TIMEOUT, follow_redirects=True
            ) as response:
                check(response)
                yield from response.iter_bytes()
        except httpx.RemoteProtocolError as error:
            raise WorkFailed(f"the audio of node {node.id} broke off") from error
        except httpx.TransportError as error:
            raise Unreachable(self.connection.url, str(error) or type(error).__name__) from error

    def events(self, chain_id: str) -> Generator[ServerEvent, None, None]:
        """The chain's events, without end: a stream that stops is resumed after the last id that it sent."""
        return self._events(f"/v1/chains/{chain_id}/events")

    def all_events(self) -> Generator[ServerEvent, None, None]:
        """Events of all chains and jobs, as `events`."""
        return self._events("/v1/events")

    def _events(self, path: str) -> Generator[ServerEvent, None, None]:
        failures = 0
        last_id: str | None = None
        while True:
            decoder = EventDecoder(last_id)
            headers = {"Accept": "text/event-stream"} | (
                {} if last_id is None else {"Last-Event-ID": last_id}
            )
            try:
                with self.connection.http.stream(
                    "GET", path, headers=headers, timeout=_EVENTS_TIMEOUT
                ) as response:
                    check(response)
                    for chunk in response.iter_bytes():
                        failures = 0
                        yield from decoder.feed(chunk)
                # Streams have a maximum life, so an end is no fault. Streams that end at once are.
                fault: httpx.TransportError | Rejected = httpx.ReadError("the event stream keeps ending")
            except (httpx.TransportError, Rejected) as error:
                fault = error
            failures += 1
            pause_s = self.connection.pause_s(fault, failures)
            last_id = decoder.last_id
            self.connection.sleep(pause_s if decoder.retry_s is None else decoder.retry_s)

    def follow(
        self, chain: Chain, node_ids: Collection[str] | None = None, *, endless: bool = False
    ) -> Generator[Node, None, None]:
        """Each node as it changes, until all of `node_ids` (None: all in the chain) are finished."""
        live = LiveChain(chain)
        with closing(self.events(chain.id)) as events:
            for event in events:
                yield from (node for node in live.apply(event) if node_ids is None or node.id in node_ids)
                finished = {node.id for node in live.chain.nodes if node.is_finished}
                # A node that was asked for may not be in the chain yet: it counts as unfinished.
                watched = {node.id for node in live.chain.nodes} if node_ids is None else set(node_ids)
                if not endless and watched <= finished:
                    return

    def follow_jobs(self, *, endless: bool = False) -> Generator[Job, None, None]:
        """Each job as it changes, until none is unfinished."""
        live = LiveJobs()
        with closing(self.all_events()) as events:
            for event in events:
                yield from live.apply(event)
                if not endless and live.is_known and not live.unfinished:
                    return

    def _read_chain(self, chain_id: str) -> Chain:
        return self.connection.ask(Chain, "GET", f"/v1/chains/{chain_id}")

    def _read_job(self, job_id: str) -> Job:
        return self.connection.ask(Job, "GET", f"/v1/jobs/{job_id}")

    def _decide(self, chain_id: str, node_id: str, decision: str) -> Chain:
        return self.connection.ask(Chain, "POST", f"/v1/chains/{chain_id}/nodes/{node_id}/{decision}")

    def _pages(self, shape: type[P], path: str) -> Iterator[P]:
        params: dict[str, str] = {}
        while True:
            page = self.connection.ask(shape, "GET", path, params=params)
            yield page
            if page.cursor is None:
                return
            params = {"cursor": page.cursor}

    def _named(
        self,
        start: str,
        noun: str,
        listed: Callable[[], Iterable[Chain | Job | Damaged]],
        operation: Callable[[str], T],
    ) -> T:
        """The operation on the thing whose id is `start`, or the only one whose id begins so."""
        if not _ID.fullmatch(start):
            raise NoSuchId(f"not an id: {start!r}")
        try:
            return operation(start)
        except Rejected as rejected:
            if rejected.status != httpx.codes.NOT_FOUND:
                raise
        return operation(matching(start, [each.id for each in listed()], noun))
