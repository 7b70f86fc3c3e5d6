"""What may happen to what is derived from a node: the same rules as for the node itself."""

from __future__ import annotations

import pytest

from storage.domain import decisions, derivations, edits
from storage.domain.derivations import MAX_DERIVED, DerivationNotFound, Made
from storage.domain.jobs import JobKind, JobState
from storage.domain.model import (
    Chain,
    ChainDeleted,
    Failure,
    Fenced,
    NodeNotFound,
    NodeStatus,
    Refused,
)
from storage.domain.outcomes import CHAIN_GONE, cancelled_jobs, outcome_in_chain, unfinished_jobs
from tests.storage.domain.builders import NOW, chain_of, grow, pending, queued_job, stems, track

BROKEN = Failure("engine-broken", "it broke")
TRACKS = (track("vocals"), track("drums"))


def with_stems(*job_ids: str) -> Chain:
    chain = chain_of()
    for job_id in job_ids:
        chain = derivations.add(chain, "root", stems(job_id), NOW)
    return chain


def status_of(chain: Chain, job_id: str) -> NodeStatus:
    return derivations.find(chain, "root", job_id).status


def published(chain: Chain, job_id: str, fence: int) -> Chain:
    return derivations.publish(chain, "root", job_id, fence, Made({"model": "tiny"}, TRACKS), NOW)


class TestAdding:
    def test_it_is_pending_and_the_node_has_changed(self) -> None:
        chain = with_stems("j")
        assert (status_of(chain, "j"), chain.version) == (NodeStatus.PENDING, 2)
        assert chain.node("root").changed_version == 2

    def test_again_changes_nothing(self) -> None:
        chain = with_stems("j")
        assert derivations.add(chain, "root", stems("j"), NOW) is chain

    def test_only_a_ready_node_that_is_not_discarded_will_do(self) -> None:
        chain = edits.add_nodes(grow(chain_of(), bad="root"), [pending("coming", "root")], NOW)
        for node_id in ("coming", "bad"):
            with pytest.raises(Refused):
                derivations.add(decisions.discard(chain, "bad", NOW), node_id, stems("j"), NOW)
        with pytest.raises(NodeNotFound):
            derivations.add(chain, "nobody", stems("j"), NOW)
        with pytest.raises(ChainDeleted):
            derivations.add(edits.delete(chain, NOW), "root", stems("j"), NOW)

    def test_what_came_to_nothing_makes_room_and_nothing_else_does(self) -> None:
        chain = with_stems(*(f"j{number}" for number in range(MAX_DERIVED)))
        with pytest.raises(Refused, match="no room"):
            derivations.add(chain, "root", stems("more"), NOW)
        chain = derivations.cancel(chain, "root", "j3", NOW)
        chain = derivations.add(chain, "root", stems("more"), NOW)
        kept = [derived.job_id for derived in chain.node("root").derived]
        assert len(kept) == MAX_DERIVED
        assert "j3" not in kept
        assert kept[-1] == "more"


class TestEnds:
    def test_only_the_latest_claim_publishes(self) -> None:
        chain = derivations.start(with_stems("j"), "root", "j", 1, NOW)
        chain = derivations.start(chain, "root", "j", 2, NOW)
        with pytest.raises(Fenced):
            published(chain, "j", 1)
        with pytest.raises(Fenced):
            derivations.start(chain, "root", "j", 1, NOW)
        with pytest.raises(Fenced):
            derivations.fail(chain, "root", "j", 1, BROKEN, NOW)
        chain = published(chain, "j", 2)
        assert derivations.find(chain, "root", "j").tracks == TRACKS

    def test_an_end_stays(self) -> None:
        running = derivations.start(with_stems("j"), "root", "j", 1, NOW)
        ended = {
            NodeStatus.READY: published(running, "j", 1),
            NodeStatus.FAILED: derivations.fail(running, "root", "j", 1, BROKEN, NOW),
            NodeStatus.CANCELLED: derivations.cancel(running, "root", "j", NOW),
        }
        for status, chain in ended.items():
            assert status_of(chain, "j") is status
            assert published(chain, "j", 1) is chain
            assert derivations.fail(chain, "root", "j", 1, BROKEN, NOW) is chain
            assert derivations.cancel(chain, "root", "j", NOW) is chain
            assert derivations.start(chain, "root", "j", 9, NOW) is chain

    def test_each_of_several_ends_by_itself(self) -> None:
        chain = derivations.start(with_stems("one", "two"), "root", "one", 1, NOW)
        chain = derivations.cancel(published(chain, "one", 1), "root", "two", NOW)
        assert [status_of(chain, job_id) for job_id in ("one", "two")] == [
            NodeStatus.READY,
            NodeStatus.CANCELLED,
        ]
        with pytest.raises(DerivationNotFound):
            derivations.cancel(chain, "root", "three", NOW)


class TestOutcomes:
    def test_the_chain_says_how_the_job_ended(self) -> None:
        job = queued_job("j", kind=JobKind.STEMS, params={"chain_id": "c", "node_id": "root"})
        chain = derivations.start(with_stems("j"), "root", "j", 1, NOW)
        assert outcome_in_chain(chain, job) is None
        assert outcome_in_chain(chain_of(), job) is None
        outcome = outcome_in_chain(published(chain, "j", 1), job)
        assert outcome is not None
        assert (outcome.state, outcome.result) == (
            JobState.SUCCEEDED,
            {"chain_id": "c", "node_id": "root"},
        )
        assert outcome_in_chain(edits.delete(chain, NOW), job) is CHAIN_GONE

    def test_discarding_a_node_cancels_what_is_still_derived_from_it(self) -> None:
        chain = grow(chain_of(), take="root")
        for job_id in ("done", "going"):
            chain = derivations.add(chain, "take", stems(job_id), NOW)
            chain = derivations.start(chain, "take", job_id, 1, NOW)
        chain = derivations.publish(chain, "take", "done", 1, Made({}, TRACKS), NOW)
        assert "going" in unfinished_jobs(chain.node("take"))
        chain = decisions.discard(chain, "take", NOW)
        assert {d.job_id: d.status for d in chain.node("take").derived} == {
            "done": NodeStatus.READY,
            "going": NodeStatus.CANCELLED,
        }
        assert [job_id for job_id, _ in cancelled_jobs(chain, chain.node("take"))] == ["going"]
        assert unfinished_jobs(chain.node("take")) == ()
