"""Sweeps of many tenants: all are looked at within a round, those with work in every sweep."""

from __future__ import annotations

from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from deployments.worker.rounds import IDLE_TENANTS, SWEEPS_PER_ROUND, Rounds
from storage import paths
from storage.repositories.jobs import JobKey
from storage.stores.object_store import ObjectInfo
from tests.deployments.worker.lab import Lab, RecordingStore

NAMES = st.lists(st.text("abc", min_size=1, max_size=6), unique=True, max_size=300).map(sorted)


@given(NAMES, st.data())
def test_every_tenant_is_looked_at_within_a_round_and_a_busy_one_in_every_sweep(
    tenants: list[str], data: st.DataObject
) -> None:
    busy = set(data.draw(st.lists(st.sampled_from(tenants)))) if tenants else set()
    rounds = Rounds()
    for tenant in busy:
        rounds.found(tenant, is_busy=True)
    seen: set[str] = set()
    for _ in range(SWEEPS_PER_ROUND):
        chosen = rounds.following(tenants)
        assert busy <= set(chosen)
        assert len(chosen) == len(set(chosen))
        assert len(chosen) <= len(busy) + max(IDLE_TENANTS, -(-len(tenants) // SWEEPS_PER_ROUND))
        seen.update(chosen)
    assert seen == set(tenants)


class CountingStore(RecordingStore):
    def __init__(self) -> None:
        super().__init__()
        self.listings = 0

    async def list(self, prefix: str, *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        self.listings += 1
        async for info in super().list(prefix, start_after=start_after):
            yield info


async def test_a_sweep_of_a_thousand_tenants_asks_the_store_for_few_of_them() -> None:
    store = CountingStore()
    lab = Lab(store)
    for number in range(1000):
        await store.put(paths.blob(f"tenant-{number:04d}", "blob"), b"")
    worker = lab.worker()
    await worker.sweep()
    assert store.listings <= 170
    await store.put(paths.active("tenant-0999", "job"), b"")
    worker.submit(JobKey("tenant-0998", "job"))
    store.listings = 0
    for _ in range(SWEEPS_PER_ROUND):
        await worker.sweep()
    assert 999 <= store.listings <= 1010
