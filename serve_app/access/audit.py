"""Who did what, with which id and hash, from where: an entry for every request that changes something, and for
every one that was refused for want of a key, a capability or room.

An entry is durable before its answer begins. Requests that end together are written together, so a busy server
makes no more writes than it has round trips to its storage.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, date
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.access.callers import Caller
from serve_app.http.problems import request_id_of
from storage.domain.records import format_time
from storage.repositories.audit import Audit, Entry
from storage.stores.clock import Clock, utc_now
from storage.stores.object_store import StoreError

logger = logging.getLogger("segue.audit")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})
REFUSALS_PER_MINUTE = 60
"""What a replica puts on record of refusals, for each tenant and for all strangers; the rest is in its log. They
could fill the storage."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass
class _Facts:
    ids: dict[str, str] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    sha256: str | None = None


_facts: ContextVar[_Facts | None] = ContextVar("segue_audit", default=None)


class AuditLog:
    """Entries wait for the write before theirs, and go together with all that came meanwhile."""

    def __init__(
        self,
        audit: Audit,
        clock: Clock = utc_now,
        *,
        is_on: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._audit = audit
        self._clock = clock
        self.is_on = is_on
        self._monotonic = monotonic
        self._refusals: Counter[str | None] = Counter()
        self._minute_s = monotonic()
        self._waiting: list[Entry] = []
        self._turn = asyncio.Lock()

    async def add(self, entry: Entry) -> None:
        """Returns when it is durable. A storage that does not take it is logged with the entry, and the request is
        answered all the same."""
        if entry["status"] in REFUSED and not self._may_record_refusal(entry["tenant"]):
            logger.warning("not on record, there were too many: %s", entry)
            return
        mine = {"at": format_time(self._clock()), **entry}
        self._waiting.append(mine)
        async with self._turn:
            if not any(each is mine for each in self._waiting):
                return  # went with the entries before
            going, self._waiting = self._waiting, []
            try:
                await self._audit.append(going, self._clock())
            except StoreError as error:
                logger.error("the audit record takes nothing (%s): %s", error, going)

    def _may_record_refusal(self, tenant: str | None) -> bool:
        now_s = self._monotonic()
        if now_s - self._minute_s >= 60:
            self._refusals.clear()
            self._minute_s = now_s
        self._refusals[tenant] += 1
        return self._refusals[tenant] <= REFUSALS_PER_MINUTE

    async def read(
        self, day: date | None, tenant: str | None, after: str, limit: int
    ) -> tuple[list[Entry], str | None]:
        """Entries of a day (None: today) in order, of one tenant or of all. Raises StoreError."""
        wanted = day or self._clock().astimezone(UTC).date()
        entries, next_after = await self._audit.read(wanted, after, limit)
        return [entry for entry in entries if tenant in (None, entry["tenant"])], next_after


def audited(*, sha256: str | None = None, jobs: Iterable[str] = (), **ids: str) -> None:
    """Add to the entry of the request that is served in this context: the hash of what came, the jobs that it made,
    and ids that its path does not name."""
    facts = _facts.get()
    if facts is not None:
        facts.ids.update(ids)
        facts.jobs.extend(jobs)
        facts.sha256 = sha256 or facts.sha256


class AuditMiddleware:
    """Stands around `AccessMiddleware`, so that its refusals are on record too."""

    def __init__(self, app: ASGIApp, *, log: AuditLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._log.is_on:
            await self._app(scope, receive, send)
            return

        facts = _Facts()

        async def after_it_is_on_record(message: Message) -> None:
            if message["type"] == "http.response.start" and (
                scope["method"] not in SAFE_METHODS or message["status"] in REFUSED
            ):
                await self._log.add(_entry(scope, facts, message["status"]))
            await send(message)

        token = _facts.set(facts)
        try:
            await self._app(scope, receive, after_it_is_on_record)
        finally:
            _facts.reset(token)


def _entry(scope: Scope, facts: _Facts, status: int) -> Entry:
    caller = scope.get("state", {}).get("caller")
    known = caller if isinstance(caller, Caller) else None
    named = {name: str(value) for name, value in scope.get("path_params", {}).items()}
    client = scope.get("client")
    return {
        "tenant": known.tenant if known is not None else None,
        "key": known.key if known is not None else None,
        "action": f"{scope['method']} {_template(scope)}",
        "status": int(status),
        "ids": {name: value for name, value in {**named, **facts.ids}.items() if _ID.fullmatch(value)},
        "sha256": facts.sha256,
        "jobs": list(facts.jobs),
        "client": client[0] if client else None,
        "request_id": request_id_of(scope),
    }


def _template(scope: Scope) -> str:
    """The route's path, with the names of its parts in place of what a client sent."""
    route = scope.get("route")
    path: str = getattr(route, "path", None) or scope["path"]
    return path[:200]
