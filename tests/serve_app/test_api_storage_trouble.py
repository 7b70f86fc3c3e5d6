"""A storage in trouble is said so by `/readyz` and `/health`, refuses work plainly, and works once it is back."""

from __future__ import annotations

import pytest

from deployments.engines.music.mock import MockEngine
from serve_app.system import storage_check
from storage.stores.memory import MemoryStore
from storage.stores.object_store import StoreFull, StoreMissing, StoreReadOnly, StoreUnavailable
from tests.support.faulty_store import FaultyStore, Outage
from tests.support.harness import problem, running, tone, wav


@pytest.mark.parametrize(
    ("trouble", "said", "status"),
    [
        (StoreFull, "full", 507),
        (StoreReadOnly, "read-only", 503),
        (StoreMissing, "missing", 503),
        (StoreUnavailable, "unavailable", 503),
    ],
)
async def test_trouble_is_said_and_forgotten_once_it_is_over(
    trouble: type[StoreUnavailable], said: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_check, "CACHE_S", -1.0)
    store = FaultyStore()
    async with running({"mock": MockEngine()}, store=store) as app:
        assert (await app.http.get("/readyz")).status_code == 200
        store.outage = Outage(error=trouble("cannot write tenants/t/key"))
        ready, health = await app.http.get("/readyz"), (await app.http.get("/health")).json()
        assert (ready.status_code, ready.json()["storage"]["status"]) == (503, said)
        assert (health["ok"], health["status"], health["storage"]["status"]) == (False, "error", said)
        assert health["storage"]["reason"]
        answer = await app.http.post("/v1/chains", files={"file": ("clip.wav", wav(tone(0.5)))})
        assert "tenants/" not in problem(answer, status)["detail"]
        store.outage = None
        assert (await app.http.get("/readyz")).status_code == 200
        await app.upload(wav(tone(0.5)))


async def test_asking_all_the_time_writes_once() -> None:
    store = MemoryStore()
    check = storage_check.StorageCheck(store)
    await check.state()
    first = [info async for info in store.list("probes/")]
    for _ in range(20):
        assert (await check.state()).status == "ready"
    assert [info async for info in store.list("probes/")] == first
