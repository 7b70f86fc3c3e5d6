"""Any sequence of edits, lawful or not, keeps a chain a chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from storage.domain import crops, decisions, edits
from storage.domain.decisions import Marks
from storage.domain.events import changes_since
from storage.domain.model import Chain, ChainDeleted, Decision, DomainError, Failure, Node, NodeStatus
from storage.domain.records import chain_from_record, chain_to_record
from storage.domain.tree import path_to, spine, subtree
from tests.storage.domain.builders import (
    PROVENANCE,
    START,
    apply_changes,
    audio,
    chain_of,
    part_of,
    pending,
    uploaded_root,
    without_stamps,
)

picks = st.integers(min_value=0, max_value=30)
fences = st.integers(min_value=0, max_value=3)
texts = st.none() | st.sampled_from(["", "brass", "é \U0001f3b5"])
SETTLED_FIELDS = ("id", "parent_id", "origin", "created_at", "prompt", "params", "seed", "take", "job_id")


class ChainMachine(RuleBasedStateMachine):
    chain: Chain

    @initialize(uploaded=st.booleans())
    def begin(self, uploaded: bool) -> None:
        self.chain = chain_of(uploaded_root("n0") if uploaded else pending("n0", None))
        self.seen = [self.chain]
        self.made = 1
        self.seconds = 0
        self.discarded_in: dict[str, int] = {}
        """Which discard took a node along, counted apart from what the chain records."""

    @rule(pick=picks, takes=st.integers(1, 3), of_ready=st.booleans())
    def add(self, pick: int, takes: int, of_ready: bool) -> None:
        parent_id = self.some(pick, (lambda node: node.can_be_branched) if of_ready else None)
        new = [pending(f"n{self.made + take}", parent_id) for take in range(takes)]
        self.made += takes
        self.edit(lambda chain: edits.add_nodes(chain, new, self.now()))

    @rule(pick=picks)
    def add_what_is_there(self, pick: int) -> None:
        again = pending(self.some(pick), "n0")
        before = self.chain
        self.edit(lambda chain: edits.add_nodes(chain, [again], self.now()))
        assert self.chain is before or before.find(again.id) is None

    @rule(pick=picks, fence=fences)
    def start(self, pick: int, fence: int) -> None:
        node_id = self.some(pick)
        self.edit(lambda chain: edits.start(chain, node_id, fence, self.now()))

    @rule(pick=picks, fence=fences, samples=st.integers(1, 99))
    def publish(self, pick: int, fence: int, samples: int) -> None:
        node_id = self.some(pick)
        self.edit(lambda chain: edits.publish(chain, node_id, fence, audio(samples), PROVENANCE, self.now()))

    @rule(pick=picks)
    def run_to_the_end(self, pick: int) -> None:
        node_id = self.some(pick, lambda node: not node.status.is_finished)
        node = self.chain.find(node_id)
        fence = node.fence + 1 if node else 1
        self.edit(lambda chain: edits.start(chain, node_id, fence, self.now()))
        self.edit(lambda chain: edits.publish(chain, node_id, fence, audio(), PROVENANCE, self.now()))

    @rule(pick=picks)
    def continue_the_line(self, pick: int) -> None:
        """A new take of some committed node's, made ready and committed: sometimes in place of another."""
        parent_id = self.some(pick, lambda node: node.decision is Decision.COMMITTED)
        new = pending(f"n{self.made}", parent_id)
        self.made += 1
        self.edit(lambda chain: edits.add_nodes(chain, [new], self.now()))
        self.edit(lambda chain: edits.start(chain, new.id, 1, self.now()))
        self.edit(lambda chain: edits.publish(chain, new.id, 1, audio(), PROVENANCE, self.now()))
        self.edit(lambda chain: decisions.commit(chain, new.id, self.now()))

    @rule(pick=picks, fence=fences)
    def fail(self, pick: int, fence: int) -> None:
        node_id = self.some(pick)
        self.edit(lambda chain: edits.fail(chain, node_id, fence, Failure("x", "broke"), self.now()))

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        node_id = self.some(pick)
        self.edit(lambda chain: edits.cancel(chain, node_id, self.now()))

    @rule(pick=picks, ready=st.booleans())
    def commit(self, pick: int, ready: bool) -> None:
        node_id = self.some(pick, (lambda node: node.status is NodeStatus.READY) if ready else None)
        self.edit(lambda chain: decisions.commit(chain, node_id, self.now()))

    @rule(pick=picks, committed=st.booleans())
    def uncommit(self, pick: int, committed: bool) -> None:
        wanted = (lambda node: node.decision is Decision.COMMITTED) if committed else None
        node_id = self.some(pick, wanted)
        before = self.chain
        self.edit(lambda chain: decisions.uncommit(chain, node_id, self.now()))
        on_spine = [node.id for node in spine(before)]
        is_taken_off = node_id in on_spine[1:]
        assert (self.chain is not before) == is_taken_off
        if is_taken_off:
            cut = on_spine.index(node_id)
            assert [node.id for node in spine(self.chain)] == on_spine[:cut]
            assert all(self.chain.node(off).decision is Decision.CANDIDATE for off in on_spine[cut:])
            again = self.chain
            for off in on_spine[cut:]:
                again = decisions.commit(again, off, self.now())
            assert without_stamps(again).nodes == without_stamps(before).nodes

    @rule(pick=picks, committed=st.booleans())
    def discard(self, pick: int, committed: bool) -> None:
        wanted = None if committed else (lambda node: node.decision is not Decision.COMMITTED)
        node_id = self.some(pick, wanted)
        before = self.chain
        self.edit(lambda chain: decisions.discard(chain, node_id, self.now()))
        if self.chain is not before:
            lost = [node.id for node in self.chain.nodes if node.decision is Decision.DISCARDED]
            for lost_id in lost:
                self.discarded_in.setdefault(lost_id, self.chain.version)
            back = decisions.restore(self.chain, node_id, self.now())
            assert [node.decision for node in back.nodes] == [node.decision for node in before.nodes]

    @rule(pick=picks, discarded=st.booleans())
    def restore(self, pick: int, discarded: bool) -> None:
        wanted = (lambda node: node.decision is Decision.DISCARDED) if discarded else None
        node_id = self.some(pick, wanted)
        before = self.chain
        self.edit(lambda chain: decisions.restore(chain, node_id, self.now()))
        if node_id not in self.discarded_in:
            assert self.chain is before
        elif before.deleted_at is None:
            lost_with_it = {
                node.id
                for node in subtree(before, node_id)
                if self.discarded_in[node.id] == self.discarded_in[node_id]
            }
            above = {node.id for node in path_to(before, node_id)} & self.discarded_in.keys()
            were = {node.id: node.decision for node in before.nodes}
            assert {node.id: node.decision for node in self.chain.nodes} == were | dict.fromkeys(
                lost_with_it | above, Decision.CANDIDATE
            )
            for back_id in lost_with_it | above:
                del self.discarded_in[back_id]

    @rule(title=st.sampled_from(["Sketch", "Dawn", "é \U0001f3b5"]))
    def rename(self, title: str) -> None:
        self.edit(lambda chain: decisions.rename(chain, title, self.now()))

    @rule(pick=picks, first=st.integers(0, 5), samples=st.integers(1, 60_000), ready=st.booleans())
    def crop(self, pick: int, first: int, samples: int, ready: bool) -> None:
        source_id = self.some(pick, (lambda node: node.can_be_branched) if ready else None)
        new_id, source = f"n{self.made}", self.chain.find(source_id)
        self.made += 1
        if source is None or source.audio is None:
            return
        first = min(first, source.audio.samples - 1)
        samples = min(samples, source.audio.samples - first)

        def cut(chain: Chain) -> Chain:
            crop = part_of(chain.node(source_id), new_id, first, samples)
            return crops.add_crop(chain, crop, self.now())

        self.edit(cut)
        if (made := self.chain.find(new_id)) is not None and made.audio is not None:
            assert made.audio.blob == source.audio.blob
            assert (made.parent_id, made.decision) == (source.parent_id, Decision.CANDIDATE)
            assert made.audio.first_sample == source.audio.first_sample + first
            assert (made.audio.lead_in is not None) == (source.audio.lead_in is not None and first == 0)

    @rule(pick=picks, marks=st.builds(Marks, title=texts, stars=st.none() | st.integers(0, 5), note=texts))
    def mark(self, pick: int, marks: Marks) -> None:
        node_id = self.some(pick)
        self.edit(lambda chain: decisions.mark(chain, node_id, marks, self.now()))

    @precondition(lambda self: len(self.seen) > 15)
    @rule()
    def delete(self) -> None:
        self.edit(lambda chain: edits.delete(chain, self.now()))

    def some(self, pick: int, of: Callable[[Node], bool] | None = None) -> str:
        """The id of a node, of a certain kind if there is one; now and then one that does not exist."""
        ids = [node.id for node in self.chain.nodes if of is None or of(node)]
        ids = ids or [node.id for node in self.chain.nodes]
        return "nobody" if pick == 30 or not ids else ids[pick % len(ids)]

    def now(self) -> Any:
        self.seconds += 1
        return START + timedelta(seconds=self.seconds)

    def edit(self, edit: Callable[[Chain], Chain]) -> None:
        before = self.chain
        record = json.dumps(chain_to_record(before))
        try:
            after = edit(before)
        except ChainDeleted:
            assert before.deleted_at is not None
            return
        except DomainError:
            assert before.deleted_at is None
            return
        finally:
            assert json.dumps(chain_to_record(before)) == record, "an edit changed the chain it was given"
        if after is before:
            return
        self.chain = after
        self.check_step(before, after)
        self.check_again(edit, after)
        self.seen.append(after)

    def check_step(self, before: Chain, after: Chain) -> None:
        assert after.version == before.version + 1
        assert after.updated_at > before.updated_at
        assert without_stamps(after) != without_stamps(before), "a version in which nothing changed"
        assert (after.id, after.tenant, after.created_at, after.root_id) == (
            before.id,
            before.tenant,
            before.created_at,
            before.root_id,
        )
        if after.deleted_at is not None:
            return
        assert [node.id for node in after.nodes][: len(before.nodes)] == [node.id for node in before.nodes]
        for node in after.nodes:
            old = before.find(node.id)
            changed = old is None or replace(node, changed_version=old.changed_version) != old
            assert changed == (node.changed_version == after.version)
            if old is not None:
                check_node_step(old, node)

    def check_again(self, edit: Callable[[Chain], Chain], after: Chain) -> None:
        """Applied to its own result, an edit changes nothing: that is what makes a replay harmless."""
        try:
            assert edit(after) is after
        except ChainDeleted:
            assert after.deleted_at is not None

    @invariant()
    def parents_stand_before_children(self) -> None:
        seen: set[str | None] = {None}
        for node in self.chain.nodes:
            assert node.parent_id in seen
            assert node.id not in seen
            seen.add(node.id)

    @invariant()
    def there_is_one_root_with_its_crops_and_one_of_them_is_committed(self) -> None:
        if self.chain.deleted_at is None:
            roots = [node for node in self.chain.nodes if node.parent_id is None]
            assert roots[0].id == self.chain.root_id
            assert all(root.cropped_from is not None for root in roots[1:])
            assert [root.decision for root in roots].count(Decision.COMMITTED) == 1

    @invariant()
    def the_committed_nodes_are_one_line_of_ready_ones(self) -> None:
        committed = [node for node in self.chain.nodes if node.decision is Decision.COMMITTED]
        line = spine(self.chain)
        assert sorted(node.id for node in line) == sorted(node.id for node in committed)
        assert [node.parent_id for node in line] == [None, *(node.id for node in line)][: len(line)]
        assert all(node.status is NodeStatus.READY for node in line[1:])
        if line:
            assert path_to(self.chain, line[-1].id) == line

    @invariant()
    def a_discarded_node_takes_all_below_it_along_finished(self) -> None:
        for node in self.chain.nodes:
            if node.decision is Decision.DISCARDED:
                below = subtree(self.chain, node.id)
                assert {one.decision for one in below} == {Decision.DISCARDED}
                assert all(one.status.is_finished for one in below)

    @invariant()
    def a_node_has_audio_exactly_when_it_is_ready_and_children_only_then(self) -> None:
        for node in self.chain.nodes:
            assert (node.audio is not None) == (node.status is NodeStatus.READY)
            assert (node.error is not None) == (node.status is NodeStatus.FAILED)
            if node.parent_id is not None:
                assert self.chain.node(node.parent_id).status is NodeStatus.READY

    @invariant()
    def the_format_is_known_once_the_root_sounds(self) -> None:
        if self.chain.deleted_at is None:
            root = self.chain.node(self.chain.root_id)
            assert (self.chain.sample_rate_hz is not None) == (root.audio is not None)

    @invariant()
    def the_record_comes_back_as_the_chain(self) -> None:
        assert chain_from_record(json.loads(json.dumps(chain_to_record(self.chain)))) == self.chain

    @invariant()
    def old_state_and_events_make_the_new_state(self) -> None:
        for old in self.seen:
            changes = changes_since(self.chain, old.version)
            assert changes.version == self.chain.version
            assert apply_changes(old.nodes, changes) == self.chain.nodes

    def teardown(self) -> None:
        """Every pair of versions, not only those with the last."""
        for number, old in enumerate(self.seen if hasattr(self, "seen") else []):
            for new in self.seen[number:]:
                assert apply_changes(old.nodes, changes_since(new, old.version)) == new.nodes


def check_node_step(old: Node, new: Node) -> None:
    assert new.fence >= old.fence
    assert all(getattr(new, name) == getattr(old, name) for name in SETTLED_FIELDS)
    if old.status.is_finished:
        assert new.status is old.status
        assert (new.audio, new.provenance, new.error, new.fence) == (
            old.audio,
            old.provenance,
            old.error,
            old.fence,
        )
    if old.status is NodeStatus.RUNNING:
        assert new.status is not NodeStatus.PENDING
    if old.decision is Decision.DISCARDED:
        marked = replace(
            old, title=new.title, stars=new.stars, note=new.note, changed_version=new.changed_version
        )
        assert new == marked or new.decision is Decision.CANDIDATE, "a discarded node is restored, or marked"
        assert new.derived == old.derived


TestChainMachine = ChainMachine.TestCase
TestChainMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
