"""Undo and redo: all of it leads back to the start and on to the end, whatever else happens to the chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.domain import crops, decisions, derivations, edits, history
from storage.domain.decisions import Marks
from storage.domain.events import changes_since
from storage.domain.model import Chain, Decision, DomainError, History, NodeStatus, Refused
from storage.domain.records import chain_from_record, chain_to_record
from tests.storage.domain.builders import (
    NOW,
    START,
    apply_changes,
    chain_of,
    commit_all,
    grow,
    make_ready,
    part_of,
    pending,
    stems,
    without_stamps,
)
from tests.support.invariants import check_chain_history, check_shape

DECISIONS = ("commit", "uncommit", "discard", "restore", "rename", "mark", "crop")
WORK = ("take", "ready", "cancel", "stems", "start")

picks = st.integers(0, 30)
decided = st.tuples(st.sampled_from(DECISIONS), picks, picks)
done = st.tuples(st.sampled_from((*DECISIONS, *WORK, "undo", "undo", "redo")), picks, picks)


def tree() -> Chain:
    return commit_all(grow(chain_of(), a="root", b="root", c="a", d="a", e="c"), "a")


def as_seen(chain: Chain) -> Chain:
    """But for versions, times and the history itself."""
    return replace(without_stamps(chain), history=History(), removed_version=0)


def step(chain: Chain, what: str, pick: int, other: int) -> Chain:
    """One decision or one piece of work on some node. Raises DomainError."""
    now = START + timedelta(seconds=chain.version)
    node = chain.nodes[pick % len(chain.nodes)]
    match what:
        case "commit" | "uncommit" | "discard" | "restore":
            decide: Callable[..., Chain] = getattr(decisions, what)
            return decide(chain, node.id, now)
        case "rename":
            return decisions.rename(chain, f"title {other}", now)
        case "mark":
            marks = Marks(stars=other % 6, note="n" * (other % 3), title="t" if other % 2 else None)
            return decisions.mark(chain, node.id, marks, now)
        case "crop":
            length = node.audio.samples if node.audio is not None else 8
            part = part_of(node, f"part-{chain.version}", other % 3, length - 3)
            return crops.crop(chain, part, now)
        case "take":
            return edits.add_nodes(chain, [pending(f"take-{chain.version}", node.id)], now)
        case "start":
            return edits.start(chain, node.id, node.fence + 1, now)
        case "ready":
            return chain if node.status.is_finished else make_ready(chain, node.id)
        case "cancel":
            return edits.cancel(chain, node.id, now)
        case "stems":
            return derivations.add(chain, node.id, stems(f"job-{chain.version}"), now)
        case "undo":
            return history.undo(chain, now)
        case _:
            return history.redo(chain, now)


def attempt(chain: Chain, *doing: str | int) -> Chain:
    what, pick, other = doing
    try:
        return step(chain, str(what), int(pick), int(other))
    except DomainError:
        return chain


@given(st.lists(decided, max_size=30))
@settings(deadline=None, max_examples=60)
def test_undo_of_everything_is_the_start_and_redo_of_everything_the_end(
    doings: list[tuple[str, int, int]],
) -> None:
    start = chain = tree()
    start = chain = replace(chain, history=History())
    for doing in doings:
        chain = attempt(chain, *doing)
    end = chain
    while chain.history.undo:
        assert history.next_undo(chain) == chain.history.undo[-1]
        before, chain = chain, history.undo(chain, NOW)
        assert chain.version == before.version + 1
    assert as_seen(chain) == as_seen(start)
    with pytest.raises(Refused, match="nothing to undo"):
        history.undo(chain, NOW)
    while chain.history.redo:
        chain = history.redo(chain, NOW)
    in_order = {node.id: node for node in as_seen(chain).nodes}
    assert in_order == {node.id: node for node in as_seen(end).nodes}
    assert (chain.title, len(chain.history.undo)) == (end.title, len(end.history.undo))


@given(st.lists(done, max_size=40))
@settings(deadline=None, max_examples=80)
def test_whatever_work_goes_on_a_chain_stays_a_chain_and_clients_follow(
    doings: list[tuple[str, int, int]],
) -> None:
    chain = tree()
    versions = [chain]
    for doing in doings:
        before = json.dumps(chain_to_record(chain))
        after = attempt(chain, *doing)
        assert json.dumps(chain_to_record(chain)) == before
        if after is chain:
            continue
        chain = after
        versions.append(chain)
        assert list(check_shape(chain)) == []
        assert chain_from_record(json.loads(json.dumps(chain_to_record(chain)))) == chain
        for old in versions:
            assert apply_changes(old.nodes, changes_since(chain, old.version)) == chain.nodes
        for ahead, go in ((history.next_undo(chain), history.undo), (history.next_redo(chain), history.redo)):
            if ahead is not None:
                assert go(chain, NOW, at=ahead.at).version == chain.version + 1
    assert list(check_chain_history(versions)) == []


def test_what_was_built_on_is_not_undone() -> None:
    chain = replace(tree(), history=History())
    cropped = crops.crop(chain, part_of(chain.node("root"), "part", 0, 4_000), NOW)
    for used in (
        edits.add_nodes(cropped, [pending("take", "part")], NOW),
        derivations.add(cropped, "part", stems("j"), NOW),
        crops.add_crop(cropped, part_of(cropped.node("part"), "inner", 0, 3_500), NOW),
    ):
        assert history.next_undo(used) is None
        with pytest.raises(Refused, match="part"):
            history.undo(used, NOW)
    again = decisions.restore(decisions.discard(chain, "b", NOW), "b", NOW)
    continued = edits.add_nodes(again, [pending("take", "b")], NOW)
    with pytest.raises(Refused, match="take"):
        history.undo(continued, NOW)


def test_cancelled_work_does_not_run_on_when_its_discard_is_undone() -> None:
    chain = edits.add_nodes(tree(), [pending("take", "b")], NOW)
    chain = edits.start(chain, "take", 1, NOW)
    back = history.undo(decisions.discard(chain, "b", NOW), NOW)
    take = back.node("take")
    assert (take.status, take.decision) == (NodeStatus.CANCELLED, Decision.CANDIDATE)


def test_the_same_request_is_taken_once_and_another_decision_is_not_undone_in_place_of_the_one_meant() -> (
    None
):
    chain = decisions.rename(decisions.rename(tree(), "one", NOW), "two", NOW + timedelta(seconds=1))
    undone = history.undo(chain, NOW, request="r", at=NOW + timedelta(seconds=1))
    assert undone.title == "one"
    assert history.undo(undone, NOW, request="r") is undone
    with pytest.raises(Refused, match="another decision"):
        history.undo(undone, NOW, at=NOW + timedelta(seconds=1))
    assert decisions.rename(undone, "three", NOW).history.redo == ()


def test_a_long_history_is_bounded() -> None:
    chain = tree()
    for number in range(2 * history.MAX_STEPS):
        chain = decisions.rename(chain, f"{number}", NOW)
    assert len(chain.history.undo) == history.MAX_STEPS
    chain = chain_of()
    chain = grow(chain, **{f"n{number}": "root" for number in range(5)})
    for _ in range(3):
        for number in range(5):
            chain = decisions.restore(decisions.discard(chain, f"n{number}", NOW), f"n{number}", NOW)
    assert sum(len(one.nodes) for one in chain.history.undo) <= history.MAX_NODE_CHANGES
