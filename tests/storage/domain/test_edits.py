"""The rules by which a musician's decisions and the runners' results change a chain, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from storage.domain import decisions, edits
from storage.domain.model import (
    Chain,
    ChainDeleted,
    Decision,
    Failure,
    Fenced,
    NodeNotFound,
    NodeStatus,
    Refused,
)
from storage.domain.tree import spine
from tests.storage.domain.builders import (
    NOW,
    PROVENANCE,
    audio,
    chain_of,
    commit_all,
    grow,
    ids_by,
    make_ready,
    pending,
    uploaded_root,
)

BROKEN = Failure("engine-broke", "the engine broke")


def line(chain: Chain) -> list[str]:
    return [node.id for node in spine(chain)]


@pytest.fixture
def tree() -> Chain:
    """root - a - b - c, and beside a: x - y; beside c: d. All ready, none but the root committed."""
    return grow(chain_of(), a="root", b="a", c="b", d="b", x="root", y="x")


class TestNewChain:
    def test_the_root_is_committed_and_sets_the_format(self) -> None:
        chain = chain_of()
        assert line(chain) == ["root"]
        assert (chain.version, chain.sample_rate_hz, chain.channels) == (1, 32_000, 1)

    def test_a_generated_root_is_committed_before_it_sounds_and_sets_the_format_then(self) -> None:
        chain = chain_of(pending("root", None))
        assert line(chain) == ["root"]
        assert (chain.sample_rate_hz, chain.channels) == (None, None)
        chain = make_ready(chain, "root")
        assert (chain.sample_rate_hz, chain.channels) == (32_000, 1)

    def test_a_root_has_no_parent(self) -> None:
        with pytest.raises(ValueError, match="no parent"):
            chain_of(pending("root", "other"))


class TestAddNodes:
    def test_takes_are_added_as_candidates_in_one_change(self) -> None:
        before = chain_of()
        after = edits.add_nodes(before, [pending("a", "root"), pending("b", "root")], NOW)
        assert after.version == before.version + 1
        assert ids_by(after, Decision.CANDIDATE) == {"a", "b"}
        assert [after.node(node_id).status for node_id in "ab"] == [NodeStatus.PENDING] * 2

    def test_adding_again_changes_nothing_even_once_a_take_has_run(self) -> None:
        takes = [pending("a", "root"), pending("b", "root")]
        chain = make_ready(edits.add_nodes(chain_of(), takes, NOW), "a")
        assert edits.add_nodes(chain, takes, NOW) is chain

    def test_the_half_that_is_missing_is_added(self) -> None:
        chain = make_ready(edits.add_nodes(chain_of(), [pending("a", "root")], NOW), "a")
        both = edits.add_nodes(chain, [pending("a", "root"), pending("b", "root")], NOW)
        assert both.node("a") == chain.node("a")
        assert both.node("b").status is NodeStatus.PENDING

    def test_one_node_named_twice_is_added_once(self) -> None:
        chain = edits.add_nodes(chain_of(), [pending("a", "root"), pending("a", "root")], NOW)
        assert [node.id for node in chain.nodes] == ["root", "a"]

    @pytest.mark.parametrize(
        "stop",
        [
            lambda chain: chain,
            lambda chain: edits.start(chain, "a", 1, NOW),
            lambda chain: edits.fail(edits.start(chain, "a", 1, NOW), "a", 1, BROKEN, NOW),
            lambda chain: edits.cancel(chain, "a", NOW),
            lambda chain: decisions.discard(make_ready(chain, "a"), "a", NOW),
        ],
        ids=["pending", "running", "failed", "cancelled", "discarded"],
    )
    def test_only_a_ready_node_that_is_not_discarded_branches(self, stop: Callable[[Chain], Chain]) -> None:
        chain = stop(edits.add_nodes(chain_of(), [pending("a", "root")], NOW))
        with pytest.raises(Refused, match="parent a is"):
            edits.add_nodes(chain, [pending("b", "a")], NOW)

    def test_an_unknown_parent_and_a_second_root_are_refused(self) -> None:
        with pytest.raises(NodeNotFound):
            edits.add_nodes(chain_of(), [pending("b", "nobody")], NOW)
        with pytest.raises(Refused, match="one root"):
            edits.add_nodes(chain_of(), [pending("b", None)], NOW)


class TestRunning:
    @pytest.fixture
    def chain(self) -> Chain:
        return edits.add_nodes(chain_of(), [pending("a", "root")], NOW)

    def test_publishing_makes_a_node_ready_with_the_length_of_its_audio(self, chain: Chain) -> None:
        chain = edits.start(chain, "a", 1, NOW)
        assert chain.node("a").status is NodeStatus.RUNNING
        chain = edits.publish(chain, "a", 1, audio(samples=48_000), PROVENANCE, NOW)
        node = chain.node("a")
        assert (node.status, node.duration_s, node.provenance) == (NodeStatus.READY, 1.5, PROVENANCE)

    def test_the_newest_claim_alone_publishes(self, chain: Chain) -> None:
        chain = edits.start(edits.start(chain, "a", 1, NOW), "a", 2, NOW)
        with pytest.raises(Fenced):
            edits.publish(chain, "a", 1, audio(), PROVENANCE, NOW)
        with pytest.raises(Fenced):
            edits.fail(chain, "a", 1, BROKEN, NOW)
        with pytest.raises(Fenced):
            edits.start(chain, "a", 1, NOW)
        assert edits.publish(chain, "a", 2, audio(), PROVENANCE, NOW).node("a").status is NodeStatus.READY

    def test_a_claim_that_never_started_the_node_cannot_publish(self, chain: Chain) -> None:
        with pytest.raises(Fenced):
            edits.publish(chain, "a", 0, audio(), PROVENANCE, NOW)

    def test_starting_again_under_the_same_claim_is_no_change(self, chain: Chain) -> None:
        chain = edits.start(chain, "a", 1, NOW)
        assert edits.start(chain, "a", 1, NOW) is chain

    def test_who_finds_the_node_finished_changes_nothing_whatever_its_claim(self, chain: Chain) -> None:
        for finished in (
            make_ready(chain, "a"),
            edits.cancel(chain, "a", NOW),
            edits.fail(edits.start(chain, "a", 1, NOW), "a", 1, BROKEN, NOW),
        ):
            assert edits.start(finished, "a", 9, NOW) is finished
            assert edits.publish(finished, "a", 9, audio(), PROVENANCE, NOW) is finished
            assert edits.fail(finished, "a", 9, BROKEN, NOW) is finished
            assert edits.cancel(finished, "a", NOW) is finished

    def test_cancelling_needs_no_claim_and_beats_a_running_one(self, chain: Chain) -> None:
        chain = edits.cancel(edits.start(chain, "a", 1, NOW), "a", NOW)
        assert chain.node("a").status is NodeStatus.CANCELLED
        assert edits.publish(chain, "a", 1, audio(), PROVENANCE, NOW) is chain

    def test_a_failure_keeps_its_reason(self, chain: Chain) -> None:
        chain = edits.fail(edits.start(chain, "a", 1, NOW), "a", 1, BROKEN, NOW)
        assert (chain.node("a").status, chain.node("a").error) == (NodeStatus.FAILED, BROKEN)

    def test_another_nodes_audio_does_not_change_the_chains_format(self, chain: Chain) -> None:
        chain = edits.start(chain, "a", 1, NOW)
        chain = edits.publish(chain, "a", 1, audio(sample_rate_hz=48_000, channels=2), PROVENANCE, NOW)
        assert (chain.sample_rate_hz, chain.channels) == (32_000, 1)


class TestCommit:
    def test_committing_extends_the_spine(self, tree: Chain) -> None:
        assert line(commit_all(tree, "a", "b", "c")) == ["root", "a", "b", "c"]

    def test_committing_again_is_no_change(self, tree: Chain) -> None:
        chain = commit_all(tree, "a", "b")
        assert decisions.commit(chain, "a", NOW) is chain
        assert decisions.commit(chain, "root", NOW) is chain

    def test_a_sibling_takes_the_place_and_what_followed_becomes_candidate(self, tree: Chain) -> None:
        chain = decisions.commit(commit_all(tree, "a", "b", "c"), "x", NOW)
        assert line(chain) == ["root", "x"]
        assert ids_by(chain, Decision.CANDIDATE) == {"a", "b", "c", "d", "y"}

    def test_replacing_the_end_leaves_the_line_before_it(self, tree: Chain) -> None:
        chain = decisions.commit(commit_all(tree, "a", "b", "c"), "d", NOW)
        assert line(chain) == ["root", "a", "b", "d"]

    def test_replacing_does_not_bring_back_what_was_discarded(self, tree: Chain) -> None:
        chain = decisions.discard(commit_all(tree, "a", "b"), "d", NOW)
        chain = decisions.commit(chain, "x", NOW)
        assert ids_by(chain, Decision.DISCARDED) == {"d"}

    def test_the_change_marks_the_replaced_and_nothing_else(self, tree: Chain) -> None:
        chain = decisions.commit(commit_all(tree, "a", "b"), "x", NOW)
        changed = {node.id for node in chain.nodes if node.changed_version == chain.version}
        assert changed == {"a", "b", "x"}

    def test_a_parent_that_is_not_on_the_spine_refuses_its_child(self, tree: Chain) -> None:
        with pytest.raises(Refused, match="not on the spine"):
            decisions.commit(tree, "b", NOW)

    def test_a_discarded_node_is_refused(self, tree: Chain) -> None:
        with pytest.raises(Refused, match="discarded"):
            decisions.commit(decisions.discard(tree, "a", NOW), "a", NOW)

    def test_only_a_ready_node_is_committed(self) -> None:
        chain = edits.add_nodes(chain_of(), [pending("a", "root")], NOW)
        with pytest.raises(Refused, match="not ready"):
            decisions.commit(chain, "a", NOW)
        with pytest.raises(Refused, match="not ready"):
            decisions.commit(edits.cancel(chain, "a", NOW), "a", NOW)

    def test_an_unknown_node_is_not_found(self, tree: Chain) -> None:
        for edit in (
            decisions.commit,
            decisions.uncommit,
            decisions.discard,
            decisions.restore,
            edits.cancel,
        ):
            with pytest.raises(NodeNotFound):
                edit(tree, "nobody", NOW)


class TestUncommit:
    def test_it_and_what_follows_it_on_the_spine_become_candidates(self, tree: Chain) -> None:
        chain = decisions.uncommit(commit_all(tree, "a", "b", "c"), "b", NOW)
        assert line(chain) == ["root", "a"]
        assert ids_by(chain, Decision.CANDIDATE) == {"b", "c", "d", "x", "y"}

    def test_the_change_marks_what_left_the_spine_and_nothing_else(self, tree: Chain) -> None:
        chain = decisions.uncommit(commit_all(tree, "a", "b", "c"), "b", NOW)
        assert {node.id for node in chain.nodes if node.changed_version == chain.version} == {"b", "c"}

    def test_again_is_no_change_nor_is_it_for_what_is_not_on_the_spine(self, tree: Chain) -> None:
        chain = decisions.uncommit(commit_all(tree, "a", "b"), "b", NOW)
        assert decisions.uncommit(chain, "b", NOW) is chain
        chain = decisions.discard(chain, "x", NOW)
        assert decisions.uncommit(chain, "x", NOW) is chain

    def test_the_root_stays_on_the_spine(self, tree: Chain) -> None:
        with pytest.raises(Refused, match="root"):
            decisions.uncommit(commit_all(tree, "a"), "root", NOW)

    def test_what_was_taken_off_can_be_discarded_or_committed(self, tree: Chain) -> None:
        chain = decisions.uncommit(commit_all(tree, "a", "b"), "a", NOW)
        assert line(commit_all(chain, "a", "b", "d")) == ["root", "a", "b", "d"]
        assert ids_by(decisions.discard(chain, "a", NOW), Decision.DISCARDED) == {"a", "b", "c", "d"}


class TestRestore:
    def test_it_undoes_a_discard(self, tree: Chain) -> None:
        chain = decisions.restore(decisions.discard(tree, "a", NOW), "a", NOW)
        assert ids_by(chain, Decision.DISCARDED) == set()
        assert line(commit_all(chain, "a", "b", "c")) == ["root", "a", "b", "c"]

    def test_what_was_discarded_before_stays_discarded(self, tree: Chain) -> None:
        chain = decisions.discard(decisions.discard(tree, "b", NOW), "a", NOW)
        chain = decisions.restore(chain, "a", NOW)
        assert ids_by(chain, Decision.DISCARDED) == {"b", "c", "d"}
        assert ids_by(decisions.restore(chain, "b", NOW), Decision.DISCARDED) == set()

    def test_discarded_ancestors_come_along_without_their_other_takes(self, tree: Chain) -> None:
        chain = decisions.restore(decisions.discard(tree, "a", NOW), "c", NOW)
        assert ids_by(chain, Decision.CANDIDATE) == {"a", "b", "c", "x", "y"}
        assert ids_by(chain, Decision.DISCARDED) == {"d"}

    def test_ancestors_of_an_earlier_discard_come_along(self, tree: Chain) -> None:
        chain = decisions.discard(decisions.discard(tree, "c", NOW), "a", NOW)
        chain = decisions.restore(chain, "c", NOW)
        assert ids_by(chain, Decision.DISCARDED) == {"d"}

    def test_cancelled_work_stays_cancelled(self, tree: Chain) -> None:
        chain = edits.add_nodes(tree, [pending("p", "b"), pending("q", "b")], NOW)
        chain = decisions.restore(decisions.discard(edits.start(chain, "q", 1, NOW), "a", NOW), "a", NOW)
        for node_id in "pq":
            node = chain.node(node_id)
            assert (node.status, node.decision) == (NodeStatus.CANCELLED, Decision.CANDIDATE)

    def test_again_is_no_change_nor_is_it_for_what_was_not_discarded(self, tree: Chain) -> None:
        chain = decisions.restore(decisions.discard(tree, "a", NOW), "a", NOW)
        assert decisions.restore(chain, "a", NOW) is chain
        chain = commit_all(chain, "x")
        assert decisions.restore(chain, "x", NOW) is chain


class TestDiscard:
    def test_the_subtree_goes_along(self, tree: Chain) -> None:
        chain = decisions.discard(tree, "a", NOW)
        assert ids_by(chain, Decision.DISCARDED) == {"a", "b", "c", "d"}

    def test_unfinished_nodes_below_are_cancelled_and_ready_ones_stay_ready(self, tree: Chain) -> None:
        chain = edits.add_nodes(tree, [pending("p", "b"), pending("q", "b")], NOW)
        chain = decisions.discard(edits.start(chain, "q", 1, NOW), "a", NOW)
        assert {chain.node(node_id).status for node_id in "pq"} == {NodeStatus.CANCELLED}
        assert {chain.node(node_id).status for node_id in "abcd"} == {NodeStatus.READY}

    def test_discarding_again_is_no_change(self, tree: Chain) -> None:
        chain = decisions.discard(tree, "a", NOW)
        assert decisions.discard(chain, "a", NOW) is chain
        assert decisions.discard(chain, "c", NOW) is chain

    def test_the_spine_cannot_be_discarded(self, tree: Chain) -> None:
        chain = commit_all(tree, "a", "b")
        for node_id in ("root", "a", "b"):
            with pytest.raises(Refused, match="on the spine"):
                decisions.discard(chain, node_id, NOW)

    def test_what_was_on_the_spine_can_be_discarded_once_replaced(self, tree: Chain) -> None:
        chain = decisions.discard(commit_all(tree, "a", "x"), "a", NOW)
        assert line(chain) == ["root", "x"]
        assert "a" in ids_by(chain, Decision.DISCARDED)


class TestTheWholeChain:
    def test_renaming(self, tree: Chain) -> None:
        renamed = decisions.rename(tree, "Dawn", NOW)
        assert (renamed.title, renamed.version, renamed.nodes) == ("Dawn", tree.version + 1, tree.nodes)
        assert decisions.rename(renamed, "Dawn", NOW) is renamed

    def test_a_deleted_chain_keeps_neither_title_nor_nodes(self, tree: Chain) -> None:
        gone = edits.delete(tree, NOW)
        assert (gone.title, gone.nodes, gone.deleted_at) == ("", (), NOW)
        assert gone.version == tree.version + 1

    @pytest.mark.parametrize(
        "edit",
        [
            lambda chain: edits.add_nodes(chain, [pending("n", "root")], NOW),
            lambda chain: edits.start(chain, "root", 1, NOW),
            lambda chain: edits.publish(chain, "root", 1, audio(), PROVENANCE, NOW),
            lambda chain: edits.fail(chain, "root", 1, BROKEN, NOW),
            lambda chain: edits.cancel(chain, "root", NOW),
            lambda chain: decisions.commit(chain, "root", NOW),
            lambda chain: decisions.discard(chain, "root", NOW),
            lambda chain: decisions.uncommit(chain, "root", NOW),
            lambda chain: decisions.restore(chain, "root", NOW),
            lambda chain: decisions.rename(chain, "again", NOW),
            lambda chain: edits.delete(chain, NOW),
        ],
        ids=[
            "add",
            "start",
            "publish",
            "fail",
            "cancel",
            "commit",
            "discard",
            "uncommit",
            "restore",
            "rename",
            "delete",
        ],
    )
    def test_nothing_changes_a_deleted_chain(self, edit: Callable[[Chain], Chain], tree: Chain) -> None:
        with pytest.raises(ChainDeleted):
            edit(edits.delete(tree, NOW))

    def test_an_edit_leaves_the_chain_it_was_given_alone(self) -> None:
        before = chain_of(uploaded_root())
        kept = replace(before)
        edits.add_nodes(before, [pending("a", "root")], NOW)
        edits.delete(before, NOW)
        assert before == kept
