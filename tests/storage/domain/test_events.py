"""What a client that resumes is sent. That it adds up to the chain, for any history, is in `test_chain_machine`."""

from __future__ import annotations

import pytest

from storage.domain import decisions, edits
from storage.domain.events import changes_since
from tests.storage.domain.builders import NOW, apply_changes, chain_of, commit_all, grow


def test_a_client_gets_the_nodes_that_changed_and_no_others() -> None:
    before = grow(chain_of(), a="root", b="root")
    after = decisions.commit(before, "a", NOW)
    changes = changes_since(after, before.version)
    assert (changes.snapshot, changes.version) == (False, after.version)
    assert changes.nodes == (after.node("a"),)


def test_several_changes_of_a_node_come_as_its_last_state() -> None:
    before = grow(chain_of(), a="root", b="root")
    after = commit_all(before, "a", "b", "a")
    assert changes_since(after, before.version).nodes == (after.node("a"), after.node("b"))


def test_a_client_that_is_up_to_date_gets_nothing() -> None:
    chain = grow(chain_of(), a="root")
    changes = changes_since(chain, chain.version)
    assert (changes.snapshot, changes.nodes) == (False, ())


def test_a_renaming_has_a_version_and_no_nodes() -> None:
    chain = decisions.rename(chain_of(), "Dawn", NOW)
    changes = changes_since(chain, 1)
    assert (changes.snapshot, changes.version, changes.nodes) == (False, 2, ())


@pytest.mark.parametrize("since", [None, 0, -3, 1000])
def test_where_there_is_no_telling_the_whole_chain_is_sent(since: int | None) -> None:
    chain = grow(chain_of(), a="root")
    changes = changes_since(chain, since)
    assert (changes.snapshot, changes.nodes, changes.version) == (True, chain.nodes, chain.version)


def test_a_deletion_empties_what_the_client_holds_and_is_told_once() -> None:
    chain = grow(chain_of(), a="root")
    gone = edits.delete(chain, NOW)
    assert apply_changes(chain.nodes, changes_since(gone, chain.version)) == ()
    again = changes_since(gone, gone.version)
    assert (again.snapshot, again.nodes) == (False, ())
