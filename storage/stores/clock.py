"""The wall clock, as a value that tests can replace. It stamps records; no decision depends on it but the
life of an Idempotency-Key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)
