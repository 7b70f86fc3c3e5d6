"""A small client of Segue's HTTP surface: typed answers, safe retries, events that survive a lost connection.

It knows nothing of terminals (`cli`, `terminal`) and nothing of the server's own code.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from segue_client.answers import (
    Accepted,
    Analysis,
    BadAnswer,
    Branch,
    Chain,
    ChainPage,
    ChainSummary,
    Job,
    Model,
    ModelList,
    Node,
    NoSuchId,
    R,
    Rejected,
    Stems,
    Unreachable,
    WorkFailed,
    check,
    matching,
    read_answer,
)
from segue_client.events import EventDecoder, LiveChain, ServerEvent

T = TypeVar("T")

ATTEMPTS = 6
"""Over about 6 s: a proxy that was killed is back by then."""
FIRST_BACKOFF_S = 0.2
MAX_RETRY_AFTER_S = 60.0
JOB_POLL_S = 0.5
# An upload is decoded, and an export may be waited for, before the answer's first byte.
_TIMEOUT = httpx.Timeout(connect=5.0, read=120.0, write=60.0, pool=5.0)
# Heartbeats come every 15 s: three missed ones are a dead connection.
_EVENTS_TIMEOUT = httpx.Timeout(connect=5.0, read=45.0, write=10.0, pool=5.0)
# The first samples come when it is the take's turn.
_LISTENING_TIMEOUT = httpx.Timeout(connect=5.0, read=1800.0, write=10.0, pool=5.0)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ID = re.compile(r"[A-Za-z0-9_-]+")


class SegueClient:
    """One server, one connection pool. Blocking; use it as a context manager.

    Lost connections, 503, 429 and a proxy's word that nobody answered are tried again, after the pause that
    the server asks for or with growing ones. That is safe: what creates work carries an Idempotency-Key, and
    the rest may be repeated anyway.
    Every method raises ClientError.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        try:
            host = httpx.URL(self.url).host
        except httpx.InvalidURL as error:
            raise Unreachable(url, str(error)) from error
        # A proxy from the environment has no business between this machine and itself.
        self._http = httpx.Client(
            base_url=self.url, timeout=_TIMEOUT, transport=transport, trust_env=host not in _LOOPBACK
        )
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def models(self) -> tuple[Model, ...]:
        return self._ask(ModelList, "GET", "/v1/models").models

    def chains(self) -> Iterator[ChainSummary]:
        """All chains, page by page."""
        params: dict[str, str] = {}
        while True:
            page = self._ask(ChainPage, "GET", "/v1/chains", params=params)
            yield from page.chains
            if page.cursor is None:
                return
            params = {"cursor": page.cursor}

    def chain(self, start: str) -> Chain:
        """The chain whose id is `start`, or the only one whose id begins so."""
        if not _ID.fullmatch(start):
            raise NoSuchId(f"not an id: {start!r}")
        try:
            return self._ask(Chain, "GET", f"/v1/chains/{start}")
        except Rejected as rejected:
            if rejected.status != httpx.codes.NOT_FOUND:
                raise
        full = matching(start, [summary.id for summary in self.chains()], "chain")
        return self._ask(Chain, "GET", f"/v1/chains/{full}")

    def job(self, job_id: str) -> Job:
        return self._ask(Job, "GET", f"/v1/jobs/{job_id}")

    def upload(self, file: Path, title: str | None = None) -> Chain:
        """A new chain with this audio file as its root. Raises OSError if it cannot be read."""
        key = _new_key()
        fields = {} if title is None else {"title": title}

        def send() -> Chain:
            with file.open("rb") as handle:  # anew for each attempt, so that each sends all of it
                upload = {"file": (file.name, handle)}
                return read_answer(
                    Chain, self._http.post("/v1/chains", headers=key, data=fields, files=upload)
                )

        return self._retrying(send)

    def branch(
        self,
        chain_id: str,
        *,
        parent_id: str,
        prompt: str,
        duration_s: float,
        takes: int = 1,
        mode: str = "continue",
        seed: int | None = None,
        model: str | None = None,
        bpm: float | None = None,
        key: str | None = None,
    ) -> Branch:
        """Ask for `takes` continuations of `parent_id`. The nodes come back pending: see `follow`."""
        wanted: dict[str, Any] = {
            "parent_id": parent_id,
            "prompt": prompt,
            "duration_s": duration_s,
            "takes": takes,
            "mode": mode,
            "seed": seed,
            "model": model,
            "bpm": bpm,
            "key": key,
        }
        body = {name: value for name, value in wanted.items() if value is not None}
        return self._ask(Branch, "POST", f"/v1/chains/{chain_id}/nodes", headers=_new_key(), json=body)

    def commit(self, chain_id: str, node_id: str) -> Chain:
        return self._ask(Chain, "POST", f"/v1/chains/{chain_id}/nodes/{node_id}/commit")

    def discard(self, chain_id: str, node_id: str) -> Chain:
        return self._ask(Chain, "POST", f"/v1/chains/{chain_id}/nodes/{node_id}/discard")

    def events(self, chain_id: str) -> Generator[ServerEvent, None, None]:
        """The chain's events, without end: a stream that stops is resumed after the last id that it sent."""
        failures = 0
        last_id: str | None = None
        while True:
            decoder = EventDecoder(last_id)
            headers = {"Accept": "text/event-stream"} | (
                {} if last_id is None else {"Last-Event-ID": last_id}
            )
            try:
                with self._http.stream(
                    "GET", f"/v1/chains/{chain_id}/events", headers=headers, timeout=_EVENTS_TIMEOUT
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
            pause_s = self._pause_s(fault, failures)
            last_id = decoder.last_id
            self._sleep(pause_s if decoder.retry_s is None else decoder.retry_s)

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

    def download(self, chain_id: str, node_id: str, target: Path, audio_format: str = "wav") -> None:
        """The node's own audio as a file; `target` is replaced only once all of it is here."""
        self._fetch(f"/v1/chains/{chain_id}/nodes/{node_id}/audio", target, {"format": audio_format})

    def listen(self, chain_id: str, node: Node) -> Generator[bytes, None, None]:
        """The node's own audio as a WAV, in pieces, as it comes if it is still being made."""
        of_node = f"/v1/chains/{chain_id}/nodes/{node.id}/audio"
        path = of_node if node.job_id is None else f"/v1/jobs/{node.job_id}/audio"
        try:
            with self._http.stream(
                "GET", path, timeout=_LISTENING_TIMEOUT, follow_redirects=True
            ) as response:
                check(response)
                yield from response.iter_bytes()
        except httpx.RemoteProtocolError as error:
            raise WorkFailed(f"the audio of node {node.id} broke off") from error
        except httpx.TransportError as error:
            raise Unreachable(self.url, str(error) or type(error).__name__) from error

    def export(
        self, chain_id: str, audio_format: str, target: Path, on_progress: Callable[[Job], None]
    ) -> None:
        """The committed line as one file, waiting for as long as it takes to make it."""
        headers = {**_new_key(), "Prefer": "respond-async"}

        def ask() -> str | None:
            path = f"/v1/chains/{chain_id}/export"
            with self._http.stream("POST", path, headers=headers, json={"format": audio_format}) as response:
                check(response)
                if response.status_code == httpx.codes.ACCEPTED:
                    response.read()
                    return read_answer(Accepted, response).job_id
                _save(response, target)  # a server that had it ready may answer with the file at once
                return None

        job_id = self._retrying(ask)
        if job_id is None:
            return
        job = self._finished(job_id, on_progress)
        export_id = (job.result or {}).get("export_id")
        if export_id is None:
            raise BadAnswer("the export is done, but the server does not say where it is")
        self._fetch(f"/v1/exports/{export_id}/file", target)

    def analyse(self, chain_id: str, node_id: str, on_progress: Callable[[Job], None]) -> dict[str, Any]:
        """What the node sounds like, waiting until it is known. Its melody is left out."""
        path = f"/v1/chains/{chain_id}/nodes/{node_id}/analysis"
        accepted = self._ask(Accepted, "POST", path, headers=_new_key(), json={"melody": False})
        self._finished(accepted.job_id, on_progress)
        found = self._ask(Analysis, "GET", path).analysis
        if found is None:
            raise BadAnswer("the analysis is done, but the server does not tell it")
        return found

    def stems(
        self,
        chain_id: str,
        node_id: str,
        folder: Path,
        on_progress: Callable[[Job], None],
        *,
        audio_format: str = "wav",
        two_stems: str | None = None,
        model: str | None = None,
    ) -> list[Path]:
        """The node's stems as files in `folder`, which is made, waiting for as long as it takes."""
        path = f"/v1/chains/{chain_id}/nodes/{node_id}/stems"
        wanted = {"two_stems": two_stems, "model": model}
        body = {name: value for name, value in wanted.items() if value is not None}
        accepted = self._ask(Accepted, "POST", path, headers=_new_key(), json=body)
        self._finished(accepted.job_id, on_progress)
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for stem in self._ask(Stems, "GET", path).stems:
            if not _FILE_NAME.fullmatch(stem.name):
                raise BadAnswer(f"not a name for a stem: {stem.name!r}")
            files.append(folder / f"{stem.name}.{audio_format}")
            self._fetch(f"{path}/{stem.name}", files[-1], {"format": audio_format, "job": accepted.job_id})
        return files

    def _finished(self, job_id: str, on_progress: Callable[[Job], None]) -> Job:
        while True:
            job = self.job(job_id)
            on_progress(job)
            if job.state == "succeeded":
                return job
            if job.state in ("failed", "cancelled"):
                reason = f": {job.error.detail}" if job.error else ""
                raise WorkFailed(f"it was not made, its job {job.id} is {job.state}{reason}")
            self._sleep(JOB_POLL_S)

    def _fetch(self, path: str, target: Path, params: dict[str, str] | None = None) -> None:
        def fetch() -> None:
            with self._http.stream("GET", path, params=params, follow_redirects=True) as response:
                check(response)
                _save(response, target)

        self._retrying(fetch)

    def _ask(self, shape: type[R], method: str, path: str, **request: Any) -> R:
        return self._retrying(lambda: read_answer(shape, self._http.request(method, path, **request)))

    def _retrying(self, operation: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                return operation()
            except (httpx.TransportError, Rejected) as error:
                failures += 1
                pause_s = self._pause_s(error, failures)
            self._sleep(pause_s)

    def _pause_s(self, fault: httpx.TransportError | Rejected, failures: int) -> float:
        """How long to wait before the next attempt. Raises the fault, readable, where there shall be none."""
        backoff_s = FIRST_BACKOFF_S * 2.0 ** (failures - 1)
        if isinstance(fault, Rejected):
            pause_s = backoff_s if fault.retry_after_s is None else fault.retry_after_s
            if failures >= ATTEMPTS or not fault.is_passing or pause_s > MAX_RETRY_AFTER_S:
                raise fault
            return pause_s
        if failures >= ATTEMPTS or isinstance(fault, httpx.UnsupportedProtocol):
            raise Unreachable(self.url, str(fault) or type(fault).__name__) from fault
        return backoff_s


def _new_key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def _save(response: httpx.Response, target: Path) -> None:
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
