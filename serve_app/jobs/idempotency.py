"""Idempotency keys: ids derive from (tenant, route, key), so a repeated request finds its own records.

The same key with the same body is the same request for `ttl`; with another body it is an error. After that
the key is free again: the ids of its next life count one generation up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from serve_app.http.problems import IdempotencyMismatch
from storage.domain.ids import derived_id, random_id


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier request under the same id left behind."""

    request_sha256: str | None
    created_at: datetime


def request_hash(body: Mapping[str, Any]) -> str:
    """SHA-256 over a request's meaning: canonical JSON, so the order of fields does not matter."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


async def request_id(
    *,
    tenant: str,
    route: str,
    key: str | None,
    request_sha256: str,
    find: Callable[[str], Awaitable[Earlier | None]],
    ttl: timedelta,
    now: datetime,
) -> str:
    """The id that this request's records are named after: random without a key.

    `find` looks for what an id already names. Raises IdempotencyMismatch for the same key and another body.
    """
    if key is None:
        return random_id()
    generation = 0
    while True:
        candidate = derived_id(tenant, route, key, str(generation))
        earlier = await find(candidate)
        if earlier is None:
            return candidate
        if now - earlier.created_at < ttl:
            if earlier.request_sha256 != request_sha256:
                raise IdempotencyMismatch(
                    "this Idempotency-Key was used for another request; use a new key for a new request"
                )
            return candidate
        generation += 1
