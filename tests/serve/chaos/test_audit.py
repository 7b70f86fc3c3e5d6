"""That an audit finds nothing means something: it finds each invariant broken in what a real application stored."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from configs.settings import JobSettings
from deployments.engines.music.mock import MockEngine
from storage import paths
from storage.domain.jobs import Job, JobKind, JobState
from storage.domain.model import Chain, Decision, Node, NodeStatus
from storage.stores.memory import MemoryStore
from storage.stores.object_store import Condition
from tests.serve.chaos import audit
from tests.serve.chaos.audit import Case
from tests.serve.chaos.promises import Promises, Request, Shown, Sight
from tests.support.harness import FAST, Running, running, tone, wav
from tests.support.invariants import Write, read_versions

TENANT = "local"


class Recorder(MemoryStore):
    """Keeps every version of every object."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Write] = []

    async def put(self, key: str, data: bytes, condition: Condition = None) -> str:
        etag = await super().put(key, data, condition)
        self.history.append(Write(time.monotonic(), key, data))
        return etag


@pytest.fixture(scope="module")
def lawful_case() -> Case:
    return asyncio.run(_lawful_case())


@pytest.fixture
def case(lawful_case: Case) -> Case:
    """One to be damaged."""
    return copy.deepcopy(lawful_case)


async def _lawful_case() -> Case:
    """Two takes of one request, the first committed and the second discarded, an export, and a cancelled take."""
    store, promises = Recorder(), Promises()
    async with running({"mock": MockEngine()}, store=store) as segue:
        chain = await segue.upload(wav(tone()))
        promises.uploads.add(chain["id"])
        branched = await segue.branch(chain["id"], chain["root_id"], prompt="one/1", takes=2)
        first, second = (node["id"] for node in branched["nodes"])
        request = Request("one-1", "one/1", 2, times_sent=2)
        request.answers = [((first, second), tuple(branched["job_ids"]))] * 2
        promises.requests.append(request)
        for node_id in (first, second):
            ready = await segue.finished(chain["id"], node_id)
            promises.hear(node_id, ready["audio"]["sha256"])
        promises.shown.append(await _decide(segue, chain["id"], first, "commit"))
        promises.shown.append(await _decide(segue, chain["id"], second, "discard"))
        promises.discarded.add(second)
        export = await segue.http.post(
            f"/v1/chains/{chain['id']}/export", json={"format": "wav"}, headers={"Prefer": "respond-async"}
        )
        promises.exports.add(export.json()["job_id"])
        await segue.ended(export.json()["job_id"])
    async with running({"mock": MockEngine()}, store=store, work=False) as segue:
        promises.cancelled.add(await _cancelled(segue, chain["id"], first))
        promises.sights.append(_sight(await segue.chain(chain["id"])))
    objects = {info.key: (await store.get(info.key)).data async for info in store.list("")}
    versions = read_versions(store.history, TENANT)
    return Case(objects, versions, promises, JobSettings(**FAST["jobs"]), TENANT)


async def _decide(segue: Running, chain_id: str, node_id: str, what: str) -> Shown:
    chain = (await segue.http.post(f"/v1/chains/{chain_id}/nodes/{node_id}/{what}")).json()
    return Shown(chain_id, chain["version"], tuple(chain["spine"]))


async def _cancelled(segue: Running, chain_id: str, parent_id: str) -> str:
    """The job of a take that was cancelled before anybody worked on it."""
    job_id: str = (await segue.branch(chain_id, parent_id, prompt="unwanted"))["job_id"]
    assert (await segue.http.delete(f"/v1/jobs/{job_id}")).json()["state"] == "cancelled"
    return job_id


def _sight(chain: dict[str, object]) -> Sight:
    nodes = {
        node["id"]: (node["status"], node["decision"], (node["audio"] or {}).get("sha256"))
        for node in chain["nodes"]  # type: ignore[attr-defined]
    }
    return Sight(str(chain["id"]), int(str(chain["version"])), nodes)


def _chain(case: Case) -> Chain:
    (chain,) = (history[-1][1] for history in case.versions.chains.values())
    return chain


def _node(case: Case, of: Callable[[Node], bool]) -> Node:
    return next(node for node in _chain(case).nodes if of(node))


def _committed(case: Case) -> Node:
    return _node(case, lambda node: node.decision is Decision.COMMITTED and node.parent_id is not None)


def _discarded(case: Case) -> Node:
    return _node(case, lambda node: node.decision is Decision.DISCARDED)


def _job(case: Case, of: Callable[[Job], bool]) -> Job:
    return next(history[-1][1] for history in case.versions.jobs.values() if of(history[-1][1]))


def _store_node(case: Case, node: Node) -> None:
    """As one more version of the chain."""
    chain = _chain(case)
    version = chain.version + 1
    stamped = replace(node, changed_version=version)
    nodes = tuple(stamped if kept.id == node.id else kept for kept in chain.nodes)
    case.versions.chains[chain.id].append((time.monotonic(), replace(chain, version=version, nodes=nodes)))


def _store_job(case: Case, job: Job) -> None:
    case.versions.jobs[job.id].append((time.monotonic(), job))


def a_job_that_was_forgotten(case: Case) -> None:
    del case.versions.jobs[sorted(case.promises.accepted_jobs)[0]]


def a_job_that_does_not_end(case: Case) -> None:
    job = _job(case, lambda job: job.kind is JobKind.EXPORT)
    _store_job(case, replace(job, state=JobState.RUNNING))


def a_job_that_says_otherwise(case: Case) -> None:
    job = _job(case, lambda job: job.node_id == _committed(case).id)
    _store_job(case, replace(job, state=JobState.FAILED))


def a_sample_too_few(case: Case) -> None:
    node = _committed(case)
    assert node.audio is not None
    _store_node(case, replace(node, audio=replace(node.audio, samples=node.audio.samples - 1)))


def an_export_that_is_gone(case: Case) -> None:
    job = _job(case, lambda job: job.kind is JobKind.EXPORT)
    assert job.result is not None
    del case.objects[paths.export(TENANT, job.result["export_id"])]  # type: ignore[attr-defined]


def a_blob_that_is_gone(case: Case) -> None:
    del case.objects[_blob_key(case)]  # type: ignore[attr-defined]


def a_blob_with_another_byte(case: Case) -> None:
    case.objects[_blob_key(case)] = case.objects[_blob_key(case)][:-1] + b"?"  # type: ignore[index]


def _blob_key(case: Case) -> str:
    audio = _committed(case).audio
    assert audio is not None
    return paths.blob(TENANT, audio.blob.name)


def audio_of_another_claim(case: Case) -> None:
    node = _committed(case)
    _store_node(case, replace(node, fence=node.fence + 1))


def a_node_that_never_ends(case: Case) -> None:
    _store_node(case, replace(_committed(case), status=NodeStatus.RUNNING, audio=None))


def a_marker(case: Case) -> None:
    job = _job(case, lambda job: True)
    case.objects[paths.active(TENANT, job.id)] = b""  # type: ignore[index]


def two_committed_siblings(case: Case) -> None:
    _store_node(case, replace(_discarded(case), decision=Decision.COMMITTED))


def a_fence_that_falls(case: Case) -> None:
    node = _committed(case)
    _store_node(case, replace(node, fence=node.fence - 1))


def a_node_that_is_lost(case: Case) -> None:
    chain = _chain(case)
    nodes = tuple(node for node in chain.nodes if node.id != _discarded(case).id)
    case.versions.chains[chain.id].append(
        (time.monotonic(), replace(chain, version=chain.version + 1, nodes=nodes))
    )


def a_claim_that_jumps(case: Case) -> None:
    job = _job(case, lambda job: job.kind is JobKind.EXPORT)
    history = case.versions.jobs[job.id]
    history[1:] = [(at_s, replace(job, fence=job.fence + 1)) for at_s, job in history[1:]]


def a_lease_cut_short(case: Case) -> None:
    job = _job(case, lambda job: job.kind is JobKind.EXPORT)
    history = case.versions.jobs[job.id]
    (at_s, claimed) = next(version for version in history if version[1].state is JobState.RUNNING)
    robbed = replace(claimed, fence=2, attempt=2, lease_s=12.0)
    held = replace(claimed, lease_s=12.0)
    history[1:] = [(at_s, held), (at_s + 5.0, robbed), (at_s + 6.0, replace(job, fence=2, attempt=2))]


def other_audio_by_ear(case: Case) -> None:
    case.promises.hear(_committed(case).id, "0" * 64)


def other_nodes_the_second_time(case: Case) -> None:
    (request,) = case.promises.requests
    node_ids, job_ids = request.answers[0]
    request.answers.append((node_ids[:1], job_ids[:1]))


def a_third_take(case: Case) -> None:
    chain = _chain(case)
    third = replace(_committed(case), id="third", decision=Decision.CANDIDATE)
    case.versions.chains[chain.id][-1] = (
        time.monotonic(),
        replace(chain, nodes=(*chain.nodes, third)),
    )


def a_cancelled_job_that_succeeds(case: Case) -> None:
    case.promises.cancelled.add(str(_committed(case).job_id))


def a_discarded_node_that_comes_back(case: Case) -> None:
    case.promises.discarded.add(_committed(case).id)


def a_spine_that_never_was(case: Case) -> None:
    case.promises.shown.append(replace(case.promises.shown[0], spine=("elsewhere",)))


def a_version_that_never_was(case: Case) -> None:
    shown = case.promises.shown[0]
    case.promises.shown.append(replace(shown, version=_chain(case).version + 1))


def an_upload_that_is_gone(case: Case) -> None:
    case.promises.uploads.add("elsewhere")


def a_page_that_waits_for_ever(case: Case) -> None:
    (sight,) = case.promises.sights
    stale = {**sight.nodes, _committed(case).id: ("running", "candidate", None)}
    case.promises.sights[:] = [replace(sight, nodes=stale)]


DAMAGES: dict[Callable[[Case], None], Callable[[Case], audit.Finding]] = {
    a_job_that_was_forgotten: audit.accepted_jobs_ended,
    a_job_that_does_not_end: audit.accepted_jobs_ended,
    a_job_that_says_otherwise: audit.jobs_end_as_their_chains_say,
    a_sample_too_few: audit.what_succeeded_is_there,
    an_export_that_is_gone: audit.what_succeeded_is_there,
    a_blob_that_is_gone: audit.blobs_are_whole,
    a_blob_with_another_byte: audit.blobs_are_whole,
    audio_of_another_claim: audit.blobs_are_whole,
    a_node_that_never_ends: audit.nothing_is_unfinished,
    a_marker: audit.no_marker_is_left,
    two_committed_siblings: audit.chains_are_lawful,
    a_fence_that_falls: audit.chains_only_grow,
    a_node_that_is_lost: audit.chains_only_grow,
    a_claim_that_jumps: audit.jobs_move_lawfully,
    a_lease_cut_short: audit.jobs_move_lawfully,
    other_audio_by_ear: audit.a_node_has_one_audio,
    other_nodes_the_second_time: audit.requests_are_done_once,
    a_third_take: audit.requests_are_done_once,
    a_cancelled_job_that_succeeds: audit.decisions_stay,
    a_discarded_node_that_comes_back: audit.decisions_stay,
    a_spine_that_never_was: audit.what_was_shown_was_so,
    a_version_that_never_was: audit.what_was_shown_was_so,
    an_upload_that_is_gone: audit.uploads_are_kept,
    a_page_that_waits_for_ever: audit.pages_saw_the_end,
}


def test_all_is_well_where_nothing_went_wrong(case: Case) -> None:
    findings = audit.audit(case)
    assert [str(finding) for finding in findings if finding.violations] == []
    assert all(finding.checked for finding in findings), "an invariant was checked on nothing"


def test_a_marker_without_a_record_is_lawful(case: Case) -> None:
    case.objects[paths.active(TENANT, "never-answered")] = b""  # type: ignore[index]
    assert case.stray_markers == 1
    assert not audit.no_marker_is_left(case).violations


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.replace("_", " "))
def test_what_is_broken_is_found(case: Case, damage: Callable[[Case], None]) -> None:
    damage(case)
    assert DAMAGES[damage](case).violations


def test_every_invariant_is_tried() -> None:
    assert set(DAMAGES.values()) == set(audit.CHECKS)
