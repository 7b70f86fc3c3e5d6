"""Chains as they are kept: found again, changed by compare-and-swap, listed newest first, deleted once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from storage import paths
from storage.domain import decisions, edits
from storage.domain.model import Chain, ChainDeleted, ChainNotFound, Refused
from storage.repositories.chains import ChainPage, Chains
from storage.stores.memory import MemoryStore
from storage.stores.object_store import BadKey
from tests.storage.domain.builders import NOW, START, chain_of, grow, pending


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def chains(store: MemoryStore) -> Chains:
    return Chains(store, clock=lambda: NOW)


def dated(number: int, tenant: str = "t") -> Chain:
    return replace(chain_of(), id=f"c{number}", tenant=tenant, created_at=START + timedelta(seconds=number))


async def ids_on_pages(chains: Chains, limit: int, tenant: str = "t") -> list[list[str]]:
    """The ids of every page, until there is no cursor."""
    pages: list[list[str]] = []
    page = ChainPage((), None)
    while not pages or page.cursor:
        page = await chains.page(tenant, cursor=page.cursor, limit=limit)
        pages.append([chain.id for chain in page.chains])
    return pages


async def test_a_chain_is_found_again_as_it_was(chains: Chains) -> None:
    chain = grow(chain_of(), a="root")
    assert await chains.create(chain) == (chain, True)
    assert await chains.load("t", "c") == chain


async def test_creating_again_gives_the_first(chains: Chains) -> None:
    await chains.create(chain_of())
    other = replace(chain_of(), title="Another")
    assert await chains.create(other) == (chain_of(), False)


async def test_tenants_do_not_see_each_others_chains(chains: Chains) -> None:
    await chains.create(chain_of())
    with pytest.raises(ChainNotFound):
        await chains.load("other", "c")
    assert (await chains.page("other")).chains == ()


@pytest.mark.parametrize("chain_id", ["nothing", "../c", "", "a/b"])
async def test_an_id_that_is_none_is_not_found(chains: Chains, chain_id: str) -> None:
    assert await chains.find("t", chain_id) is None
    with pytest.raises(ChainNotFound):
        await chains.load("t", chain_id)
    with pytest.raises(ChainNotFound):
        await chains.change("t", chain_id, lambda chain, now: decisions.rename(chain, "x", now))
    with pytest.raises(ChainNotFound):
        await chains.delete("t", chain_id)


async def test_a_change_is_kept_with_the_time_it_was_made(chains: Chains) -> None:
    await chains.create(chain_of())
    changed = await chains.change("t", "c", lambda chain, now: decisions.rename(chain, "Dawn", now))
    assert (changed.title, changed.version, changed.updated_at) == ("Dawn", 2, NOW)
    assert await chains.load("t", "c") == changed


async def test_a_refused_change_leaves_the_chain_as_it_was(chains: Chains) -> None:
    await chains.create(chain_of())
    with pytest.raises(Refused):
        await chains.change("t", "c", lambda chain, now: decisions.discard(chain, "root", now))
    assert await chains.load("t", "c") == chain_of()


async def test_changes_at_once_all_happen(chains: Chains) -> None:
    await chains.create(chain_of())

    def adding(number: int) -> asyncio.Task[Chain]:
        def edit(chain: Chain, now: datetime) -> Chain:
            return edits.add_nodes(chain, [pending(f"n{number}", "root")], now)

        return asyncio.ensure_future(chains.change("t", "c", edit))

    await asyncio.gather(*(adding(number) for number in range(20)))
    chain = await chains.load("t", "c")
    assert {node.id for node in chain.nodes} == {"root", *(f"n{number}" for number in range(20))}
    assert chain.version == 21


async def test_a_deleted_chain_is_not_found_but_its_tombstone_stays(chains: Chains) -> None:
    await chains.create(chain_of())
    gone = await chains.delete("t", "c")
    assert gone.deleted_at == NOW
    with pytest.raises(ChainNotFound):
        await chains.load("t", "c")
    assert await chains.find("t", "c") == gone
    assert await chains.create(chain_of()) == (gone, False), "an id is never used again"


async def test_deleting_twice_and_changing_the_deleted_is_refused(chains: Chains) -> None:
    await chains.create(chain_of())
    await chains.delete("t", "c")
    with pytest.raises(ChainDeleted):
        await chains.delete("t", "c")
    with pytest.raises(ChainDeleted):
        await chains.change("t", "c", lambda chain, now: decisions.rename(chain, "x", now))


class TestPages:
    async def test_the_newest_comes_first_and_pages_join(self, chains: Chains) -> None:
        for number in (3, 0, 4, 1, 2):
            await chains.create(dated(number))
        pages = await ids_on_pages(chains, limit=2)
        assert [chain for page in pages for chain in page] == ["c4", "c3", "c2", "c1", "c0"]
        assert max(map(len, pages)) == 2

    async def test_deleted_chains_are_left_out(self, chains: Chains) -> None:
        for number in range(3):
            await chains.create(dated(number))
        await chains.delete("t", "c1")
        assert [chain.id for chain in (await chains.page("t")).chains] == ["c2", "c0"]

    async def test_a_crash_between_list_and_record_leaves_nothing_to_see(
        self, chains: Chains, store: MemoryStore
    ) -> None:
        await chains.create(dated(1))
        entry = paths.timeline_folder("t", "chains") + paths.timeline_entry(NOW, "never-written")
        await store.put(entry, b"")
        assert [chain.id for chain in (await chains.page("t")).chains] == ["c1"]

    async def test_a_repeated_creation_is_listed_once(self, chains: Chains) -> None:
        await chains.create(dated(1))
        await chains.create(replace(dated(1), created_at=START + timedelta(hours=1)))
        assert [chain.id for chain in (await chains.page("t")).chains] == ["c1"]

    @pytest.mark.parametrize("cursor", ["../x", "a/b", ".."])
    async def test_a_cursor_that_no_page_gave_is_refused(self, chains: Chains, cursor: str) -> None:
        with pytest.raises(BadKey):
            await chains.page("t", cursor=cursor)
