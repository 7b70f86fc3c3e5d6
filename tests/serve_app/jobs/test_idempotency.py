"""Idempotency keys: when a request is an earlier one, and when a key is free again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.http.problems import IdempotencyMismatch
from serve_app.jobs.idempotency import Earlier, request_hash, request_id

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(hours=24)


class Records:
    """What earlier requests left behind, by id."""

    def __init__(self) -> None:
        self.kept: dict[str, Earlier] = {}

    async def find(self, candidate: str) -> Earlier | None:
        return self.kept.get(candidate)

    async def ask(
        self, key: str | None, body: str, now: datetime, *, tenant: str = "t", route: str = "r"
    ) -> str:
        found = await request_id(
            tenant=tenant, route=route, key=key, request_sha256=body, find=self.find, ttl=DAY, now=now
        )
        self.kept.setdefault(found, Earlier(body, now))
        return found


async def test_a_key_finds_its_request_for_a_day_and_is_free_then() -> None:
    records = Records()
    first = await records.ask("k", "body", NOON)
    last_moment = NOON + DAY - timedelta(microseconds=1)
    assert await records.ask("k", "body", last_moment) == first
    with pytest.raises(IdempotencyMismatch):
        await records.ask("k", "another", last_moment)
    second = await records.ask("k", "another", NOON + DAY)
    assert second != first
    # Its next life is as the first was.
    assert await records.ask("k", "another", NOON + DAY) == second
    with pytest.raises(IdempotencyMismatch):
        await records.ask("k", "body", NOON + DAY)
    assert await records.ask("k", "body", NOON + 2 * DAY) not in (first, second)


async def test_a_key_is_its_tenants_and_its_routes_own() -> None:
    records = Records()
    ids = {
        await records.ask("k", "a", NOON),
        await records.ask("k", "b", NOON, tenant="other"),
        await records.ask("k", "c", NOON, route="other"),
        await records.ask("tk", "d", NOON, tenant=""),
    }
    assert len(ids) == 4


async def test_without_a_key_every_request_is_new() -> None:
    records = Records()
    assert await records.ask(None, "body", NOON) != await records.ask(None, "body", NOON)


@given(
    st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=5), st.none()), min_size=2)
)
def test_the_order_of_fields_makes_no_other_request(body: dict[str, object]) -> None:
    turned = dict(reversed(body.items()))
    assert request_hash(turned) == request_hash(body)
    name = next(iter(body))
    assert request_hash({**body, name: [body[name]]}) != request_hash(body)
