"""Segments of audio that is being made, in every store."""

from __future__ import annotations

from storage.repositories.segments import SegmentKey, Segments
from storage.stores.object_store import ObjectStore

TENANT = "t"


def _key(number: int, fence: int = 1, job_id: str = "job") -> SegmentKey:
    return SegmentKey(TENANT, job_id, fence, number)


async def _keys(store: ObjectStore) -> list[str]:
    return [info.key async for info in store.list("")]


async def test_a_segment_is_found_by_its_number_as_soon_as_it_is_told_of(store: ObjectStore) -> None:
    told: list[SegmentKey] = []
    segments = Segments(store, on_stored=told.append)
    assert await segments.find(_key(0)) is None
    for number, data in enumerate((b"first", b"second")):
        await segments.put(_key(number), data)
        assert told == [_key(told_of) for told_of in range(number + 1)]
        assert await Segments(store).find(_key(number)) == data
    assert await segments.find(_key(2)) is None


async def test_claims_and_jobs_share_no_segment(store: ObjectStore) -> None:
    segments = Segments(store)
    keys = [_key(0), _key(0, fence=2), _key(0, job_id="job-1"), _key(1, fence=11), _key(11)]
    for key in keys:
        await segments.put(key, repr(key).encode())
    assert [await segments.find(key) for key in keys] == [repr(key).encode() for key in keys]


async def test_all_of_a_claim_go_and_none_of_another(store: ObjectStore) -> None:
    segments = Segments(store)
    others = [_key(0, fence=2), _key(0, job_id="other")]
    for key in (*(_key(number) for number in range(12)), *others):
        await segments.put(key, b"sound")
    await segments.remove(TENANT, "job", 1, 12)
    assert [await segments.find(_key(number)) for number in range(12)] == [None] * 12
    assert [await segments.find(key) for key in others] == [b"sound"] * 2
    await segments.remove(TENANT, "job", 2, 1)
    await segments.remove(TENANT, "other", 1, 3)  # some were never stored
    assert await _keys(store) == []
