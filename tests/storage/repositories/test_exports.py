"""Exports as they are kept: one for each plan, the first made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage.repositories.exports import Barrier, Export, ExportBarred, Exports
from storage.stores.memory import MemoryStore
from tests.storage.domain.builders import NOW, START, blob

EXPORT = Export(
    id="ab" * 32,
    tenant="t",
    created_at=START,
    blob=blob("mix"),
    media_type="audio/mpeg",
    filename="Søng.mp3",
    samples=96_000,
    sample_rate_hz=48_000,
)


async def test_an_export_is_found_again_as_it_was() -> None:
    exports = Exports(MemoryStore())
    assert await exports.keep(EXPORT) == EXPORT
    assert await exports.find("t", EXPORT.id) == EXPORT
    assert EXPORT.duration_s == 2.0


async def test_a_manifest_beside_the_file_is_kept_with_it() -> None:
    exports, signed = Exports(MemoryStore()), replace(EXPORT, manifest=blob("manifest"))
    await exports.keep(signed)
    assert await exports.find("t", EXPORT.id) == signed
    assert [each.name for each in signed.blobs] == [EXPORT.blob.name, blob("manifest").name]


async def test_of_two_made_from_one_plan_the_first_stays() -> None:
    exports = Exports(MemoryStore())
    await exports.keep(EXPORT)
    assert await exports.keep(replace(EXPORT, blob=blob("other"), created_at=NOW)) == EXPORT


async def test_a_barrier_is_no_export_and_only_who_saw_it_replaces_it() -> None:
    exports, seen = Exports(MemoryStore()), Barrier(EXPORT.id, "t", START)
    assert await exports.bar(seen, EXPORT.blob.name)
    assert await exports.find("t", EXPORT.id) is None
    assert await exports.read("t", EXPORT.id) == seen
    with pytest.raises(ExportBarred):
        await exports.keep(EXPORT)
    another = Barrier(EXPORT.id, "t", START)
    assert await exports.bar(another, EXPORT.blob.name)
    with pytest.raises(ExportBarred):
        await exports.keep(EXPORT, over=seen)
    assert await exports.keep(EXPORT, over=another) == EXPORT
    assert not await exports.bar(Barrier(EXPORT.id, "t", START), EXPORT.blob.name)
    assert await exports.bar(Barrier(EXPORT.id, "t", START), "another file")
    assert await exports.find("t", EXPORT.id) == EXPORT


async def test_what_was_not_made_is_not_found() -> None:
    exports = Exports(MemoryStore())
    await exports.keep(EXPORT)
    for tenant, export_id in (("t", "other"), ("other", EXPORT.id), ("t", "../x"), ("t", "")):
        assert await exports.find(tenant, export_id) is None
