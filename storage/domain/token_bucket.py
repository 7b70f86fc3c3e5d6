"""A token bucket: so many requests a minute, and no more than that at once. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Bucket:
    """`tokens` there were `at` that time."""

    tokens: float
    at: datetime


def fill(bucket: Bucket | None, per_minute: int, now: datetime) -> Bucket:
    """As it is now; one that nobody has taken from yet is full. A clock that is behind fills nothing."""
    if bucket is None:
        return Bucket(float(per_minute), now)
    passed_s = max(0.0, (now - bucket.at).total_seconds())
    tokens = min(float(per_minute), bucket.tokens + passed_s * per_minute / 60)
    return Bucket(tokens, max(now, bucket.at))


def take(bucket: Bucket, wanted: int) -> tuple[Bucket, int]:
    """Without up to `wanted` whole tokens, and how many those are."""
    granted = min(wanted, int(bucket.tokens))
    return Bucket(bucket.tokens - granted, bucket.at), granted


def wait_s(bucket: Bucket, per_minute: int) -> float:
    """How long until there is a token."""
    return max(0.0, 1.0 - bucket.tokens) * 60 / per_minute
