"""What must be true of a store, whatever happened: checked from its objects, and from every version they had.

Each check yields what is wrong, as text. Those who know what clients were told check that beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from configs.settings import JobSettings
from storage import paths
from storage.domain.jobs import MOVES, Job, JobKind, JobState, sign_of
from storage.domain.model import BlobRef, Chain, Decision, Node, NodeStatus
from storage.domain.outcomes import CHAIN_GONE, outcome_in_chain
from storage.repositories.chains import CODEC as CHAINS
from storage.repositories.exports import CODEC as EXPORTS
from storage.repositories.exports import Export
from storage.repositories.jobs import CODEC as JOBS


@dataclass(frozen=True, slots=True)
class Write:
    """One version of one object: when it became true, by the store's clock."""

    at_s: float
    key: str
    data: bytes | None
    """None: it was deleted."""


@dataclass
class Versions:
    """Every version of every chain and job, with the time at which it became true."""

    chains: dict[str, list[tuple[float, Chain]]] = field(default_factory=lambda: defaultdict(list))
    jobs: dict[str, list[tuple[float, Job]]] = field(default_factory=lambda: defaultdict(list))

    def job_now(self, job_id: str) -> Job | None:
        found = self.jobs.get(job_id)
        return found[-1][1] if found else None

    def chain_now(self, chain_id: str | None) -> Chain | None:
        found = self.chains.get(chain_id) if chain_id is not None else None
        return found[-1][1] if found else None


def read_versions(history: Iterable[Write], tenant: str) -> Versions:
    versions = Versions()
    for write in history:
        folder, _, name = write.key.removeprefix(_folder_of(tenant)).partition("/")
        if write.data is None or folder not in ("chains", "jobs"):
            continue
        record, record_id = json.loads(write.data)["record"], name.removesuffix(".json")
        if folder == "chains":
            versions.chains[record_id].append((write.at_s, CHAINS.decode(record)))
        else:
            versions.jobs[record_id].append((write.at_s, JOBS.decode(record)))
    return versions


def check_shape(chain: Chain) -> Iterator[str]:
    """One version of a chain by itself."""
    if chain.deleted_at is not None:
        if chain.nodes:
            yield "a tombstone with nodes"
        return
    seen: dict[str, Node] = {}
    committed_below: set[str | None] = set()
    for node in chain.nodes:
        parent = seen.get(node.parent_id) if node.parent_id is not None else None
        if node.id in seen:
            yield f"node {node.id} is there twice"
        seen[node.id] = node
        if not 1 <= node.changed_version <= chain.version:
            yield f"node {node.id} changed at version {node.changed_version}"
        if (node.audio is not None) != (node.status is NodeStatus.READY):
            yield f"node {node.id} is {node.status}, audio: {node.audio is not None}"
        if node.decision is Decision.COMMITTED:
            if node.parent_id in committed_below:
                yield f"a second committed child of {node.parent_id}"
            committed_below.add(node.parent_id)
        if node.parent_id is None:
            if node.id != chain.root_id and node.cropped_from is None:
                yield f"node {node.id} is no lawful root"
            continue
        if parent is None:
            yield f"node {node.id} comes before its parent, or has none"
            continue
        if parent.status is not NodeStatus.READY:
            yield f"node {node.id} continues from a parent that is {parent.status}"
        if node.decision is Decision.COMMITTED and (
            node.status is not NodeStatus.READY or parent.decision is not Decision.COMMITTED
        ):
            yield f"node {node.id} is committed, but {node.status} below one that is {parent.decision}"
        if parent.decision is Decision.DISCARDED and node.decision is not Decision.DISCARDED:
            yield f"node {node.id} below a discarded one is {node.decision}"
        if node.decision is Decision.DISCARDED and not node.status.is_finished:
            yield f"node {node.id} is discarded and still {node.status}"
    for node in chain.nodes:
        if (node.discarded_in is not None) != (node.decision is Decision.DISCARDED):
            yield f"node {node.id} is {node.decision}, discarded in {node.discarded_in}"
    if None not in committed_below:
        yield "the spine does not begin anywhere"


def check_chain_history(chains: list[Chain]) -> Iterator[str]:
    """No update is lost, fences only rise, and what has ended, or was decided for good, stays."""
    for before, after in pairwise(chains):
        if after.version <= before.version:
            yield f"version {before.version} is followed by {after.version}"
        if before.deleted_at is not None:
            yield f"changed after its deletion, at version {after.version}"
        if after.deleted_at is not None:
            continue
        now = {node.id: node for node in after.nodes}
        if missing := [node.id for node in before.nodes if node.id not in now and node.cropped_from is None]:
            yield f"lost nodes {missing} at version {after.version}"
        was = {node.id: node for node in before.nodes}
        for node in after.nodes:
            earlier = was.get(node.id)
            changed = earlier is None or replace(earlier, changed_version=node.changed_version) != node
            if changed != (node.changed_version > before.version):
                yield f"node {node.id} wrongly stamped {node.changed_version} at version {after.version}"
            if earlier is not None and node is not earlier:
                yield from _check_step(earlier, node)


def _check_step(before: Node, after: Node) -> Iterator[str]:
    if after.fence < before.fence:
        yield f"node {after.id}: fence {before.fence} fell to {after.fence}"
    same_outcome = (after.status, after.audio, after.error) == (before.status, before.audio, before.error)
    if before.status.is_finished and not same_outcome:
        yield f"node {after.id}: was {before.status} and became {after.status} again, under claim {after.fence}"
    if before.decision is Decision.DISCARDED and after.decision is Decision.COMMITTED:
        yield f"node {after.id}: is committed without having been restored"
    marked = replace(
        before, title=after.title, stars=after.stars, note=after.note, changed_version=after.changed_version
    )
    if before.decision is Decision.DISCARDED is after.decision and after != marked:
        yield f"node {after.id}: changed while it was discarded"
    if after.status is NodeStatus.READY is not before.status and (
        before.status is not NodeStatus.RUNNING or before.fence != after.fence
    ):
        yield f"node {after.id}: published by claim {after.fence} over {before.status} under {before.fence}"


def check_job_history(versions: list[tuple[float, Job]], settings: JobSettings) -> Iterator[str]:
    """Lawful moves, a fence for each claim, beats of the holder alone, and no lease cut short."""
    sign_since_s = versions[0][0]
    for (_, before), (at_s, after) in pairwise(versions):
        moved = after.state is not before.state
        claimed = after.state is JobState.RUNNING and (moved or after.fence != before.fence)
        if moved and after.state not in MOVES[before.state]:
            yield f"moved from {before.state} to {after.state}"
        if before.state.is_finished:
            yield f"changed after its end as {before.state}"
        if after.fence != before.fence + claimed:
            yield f"fence {before.fence} became {after.fence} as it went from {before.state} to {after.state}"
        if claimed and before.state is JobState.RUNNING:
            quiet_s = at_s - sign_since_s
            if quiet_s < before.lease_s + settings.takeover_grace_s:
                yield f"claim {after.fence} took over after {quiet_s:.1f} s without a sign"
        if not claimed and after.attempt > before.attempt:
            yield f"attempt {before.attempt} became {after.attempt} without a claim"
        if sign_of(after) != sign_of(before):
            sign_since_s = at_s


def check_end(job: Job, chain: Chain | None) -> Iterator[str]:
    """A job's record at rest: ended, and as its chain says."""
    if not job.state.is_finished or job.finished_at is None:
        yield f"is {job.state} at rest"
        return
    if job.kind is not JobKind.GENERATE:
        return
    outcome = outcome_in_chain(chain, job)
    if outcome is CHAIN_GONE:
        return
    node = chain.find(str(job.node_id)) if chain is not None else None
    if node is None:
        if job.state is JobState.SUCCEEDED:
            yield "succeeded without a node"
    elif outcome is None:
        yield f"ended as {job.state}, and its node is {node.status} for ever"
    elif (job.state, job.error) != (outcome.state, outcome.error):
        yield f"ended as {job.state} ({job.error}), its node as {node.status} ({node.error})"


def check_markers(objects: Iterable[str], tenant: str) -> Iterator[str]:
    """At rest: no marker has a record. `objects` are keys."""
    keys, active = frozenset(objects), paths.active_folder(tenant)
    for key in keys:
        job_id = key.removeprefix(active)
        if key.startswith(active) and paths.job(tenant, job_id) in keys:
            yield f"job {job_id}: its marker is still there"


def check_blobs(
    versions: Versions, objects: Mapping[str, bytes], settings: JobSettings, tenant: str
) -> Iterator[str]:
    """What documents name is there and whole, and was made by the claim that published it, within its tries."""
    for _, history in versions.chains.items():
        for node in history[-1][1].nodes:
            if node.audio is None:
                continue
            for ref in (node.audio.blob, node.audio.lead_in, node.audio.original):
                if ref is not None:
                    yield from _check_blob(f"node {node.id}", ref, objects, tenant)
                    if node.job_id is not None and not ref.name.startswith(f"{node.job_id}-{node.fence}-"):
                        yield f"node {node.id} under claim {node.fence} has the audio {ref.name}"
    for key in objects:
        folder, _, name = key.removeprefix(_folder_of(tenant)).partition("/")
        if folder == "exports":
            export = EXPORTS.decode(json.loads(objects[key])["record"])
            if isinstance(export, Export):
                yield from _check_blob(f"export {name}", export.blob, objects, tenant)
        if folder == "blobs" and not name.startswith(("upload-", "export-")):
            job_id, _, fence = name.rsplit("-", 1)[0].rpartition("-")
            attempts = {job.fence: job.attempt for _, job in versions.jobs[job_id]}
            if attempts.get(int(fence), 0) > settings.max_attempts:
                yield f"job {job_id}: attempt {attempts[int(fence)]} worked"


def _check_blob(who: str, ref: BlobRef, objects: Mapping[str, bytes], tenant: str) -> Iterator[str]:
    data = objects.get(paths.blob(tenant, ref.name))
    if data is None:
        yield f"{who}: blob {ref.name} is gone"
    elif hashlib.sha256(data).hexdigest() != ref.sha256 or len(data) != ref.size_bytes:
        yield f"{who}: blob {ref.name} is damaged"


def check_request(name: str, takes: int, told: set[tuple[str, ...]], made: Sequence[Node]) -> Iterator[str]:
    """A request for takes was answered with the same nodes each time, and made those, once.

    `told` are the ids of each different answer, nothing if there was none; `made` are the request's nodes.
    """
    if len(told) > 1:
        yield f"request {name} was answered with different nodes: {told}"
    if told and sorted(node.id for node in made) != sorted(next(iter(told))):
        yield f"request {name} was promised {told}, and made {[node.id for node in made]}"
    if len(made) > takes or len({node.take for node in made}) != len(made):
        yield f"request {name} for {takes} takes made {len(made)} nodes"


def _folder_of(tenant: str) -> str:
    return f"{paths.TENANTS}{tenant}/"
