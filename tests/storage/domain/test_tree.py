"""Questions about a chain's shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest

from storage.domain import decisions, edits
from storage.domain.model import Chain, Node, NodeNotFound
from storage.domain.tree import children_of, path_to, spine, subtree
from tests.storage.domain.builders import NOW, chain_of, commit_all, grow, pending, uploaded_root


@pytest.fixture
def tree() -> Chain:
    """root - a - b - c, and beside a: x - y; beside c: d."""
    return grow(chain_of(), a="root", x="root", b="a", y="x", c="b", d="b")


def ids(nodes: Iterable[Node]) -> list[str]:
    return [node.id for node in nodes]


def test_a_path_leads_from_the_root_to_the_node_whatever_was_decided(tree: Chain) -> None:
    chain = decisions.discard(commit_all(tree, "x"), "a", NOW)
    assert ids(path_to(chain, "d")) == ["root", "a", "b", "d"]
    assert ids(path_to(chain, "root")) == ["root"]


def test_children_come_in_the_order_they_were_made(tree: Chain) -> None:
    assert ids(children_of(tree, "root")) == ["a", "x"]
    assert ids(children_of(tree, "b")) == ["c", "d"]
    assert children_of(tree, "d") == ()


def test_a_subtree_has_all_below_parents_first(tree: Chain) -> None:
    assert ids(subtree(tree, "a")) == ["a", "b", "c", "d"]
    assert ids(subtree(tree, "root")) == ["root", "a", "x", "b", "y", "c", "d"]
    assert ids(subtree(tree, "y")) == ["y"]


def test_the_spine_ends_where_nothing_is_committed(tree: Chain) -> None:
    assert ids(spine(tree)) == ["root"]
    assert ids(spine(commit_all(tree, "x", "y"))) == ["root", "x", "y"]
    assert spine(edits.delete(tree, NOW)) == ()


def test_an_unknown_node_is_not_found(tree: Chain) -> None:
    for question in (path_to, subtree):
        with pytest.raises(NodeNotFound, match="nobody"):
            question(tree, "nobody")
    with pytest.raises(NodeNotFound):
        tree.node("nobody")
    assert tree.find("nobody") is None


def test_a_chain_may_be_deeper_than_the_call_stack() -> None:
    names = ["root", *(f"n{number}" for number in range(3000))]
    below = [pending(child, parent) for parent, child in pairwise(names)]
    chain = replace(chain_of(), nodes=(uploaded_root(), *below))
    assert ids(path_to(chain, names[-1])) == names
    assert ids(subtree(chain, "root")) == names
