"""What must be true of a store, whatever happened: checked from its objects, and from every version they had.

Each check yields what is wrong, as text. Only the last, `check_promises`, knows what clients were told.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from configs.settings import JobSettings
from storage import paths
from storage.chain.jobs import MOVES, Job, JobKind, JobState, sign_of
from storage.chain.model import BlobRef, Chain, Decision, Node, NodeStatus
from storage.chain.outcomes import CHAIN_GONE, outcome_in_chain
from storage.chains import CODEC as CHAINS
from storage.exports import CODEC as EXPORTS
from storage.jobs import CODEC as JOBS
from tests.simulation.clients import TENANT
from tests.simulation.store import Write
from tests.simulation.world import Story

_FOLDER = f"tenants/{TENANT}/"


@dataclass
class Versions:
    """Every version of every chain and job, with the time at which it became true."""

    chains: dict[str, list[tuple[float, Chain]]] = field(default_factory=lambda: defaultdict(list))
    jobs: dict[str, list[tuple[float, Job]]] = field(default_factory=lambda: defaultdict(list))

    def job_now(self, job_id: str) -> Job:
        return self.jobs[job_id][-1][1]

    def chain_now(self, chain_id: str | None) -> Chain | None:
        found = self.chains.get(chain_id) if chain_id is not None else None
        return found[-1][1] if found else None


def violations(story: Story) -> list[str]:
    """All that is wrong with a story; nothing if all is well."""
    versions = read_versions(story.history)
    settings = story.settings.jobs
    found = [] if story.at_rest else [f"stuck: not at rest after {story.ended_s:.0f} s"]
    for chain_id, chain_versions in versions.chains.items():
        chains = [chain for _, chain in chain_versions]
        found += [f"chain {chain_id}: {wrong}" for wrong in check_chain_history(chains)]
        for chain in chains:
            found += [f"chain {chain_id} v{chain.version}: {wrong}" for wrong in check_shape(chain)]
    for job_id, job_versions in versions.jobs.items():
        found += [f"job {job_id}: {wrong}" for wrong in check_job_history(job_versions, settings)]
        if story.at_rest:
            chain = versions.chain_now(job_versions[-1][1].chain_id)
            found += [f"job {job_id}: {wrong}" for wrong in check_end(job_versions[-1][1], chain)]
    found += check_blobs(versions, story.objects, settings)
    if story.at_rest:
        found += check_markers(story.objects)
        found += check_promises(story, versions)
    return list(dict.fromkeys(found))


def read_versions(history: list[Write]) -> Versions:
    versions = Versions()
    for write in history:
        folder, _, name = write.key.removeprefix(_FOLDER).partition("/")
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
            if node.id != chain.root_id or node.decision is not Decision.COMMITTED:
                yield f"node {node.id} is no lawful root"
            continue
        if parent is None:
            yield f"node {node.id} comes before its parent, or has none"
            continue
        if parent.status is not NodeStatus.READY:
            yield f"node {node.id} goes on from a parent that is {parent.status}"
        if node.decision is Decision.COMMITTED and (
            node.status is not NodeStatus.READY or parent.decision is not Decision.COMMITTED
        ):
            yield f"node {node.id} is committed, but {node.status} below one that is {parent.decision}"
        if parent.decision is Decision.DISCARDED and node.decision is not Decision.DISCARDED:
            yield f"node {node.id} below a discarded one is {node.decision}"
        if node.decision is Decision.DISCARDED and not node.status.is_finished:
            yield f"node {node.id} is discarded and still {node.status}"


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
        if missing := [node.id for node in before.nodes if node.id not in now]:
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
    if before.decision is Decision.DISCARDED is not after.decision:
        yield f"node {after.id}: came back from discarded"
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


def check_markers(objects: Mapping[str, bytes]) -> Iterator[str]:
    active = f"{_FOLDER}active/"
    for key in objects:
        job_id = key.removeprefix(active)
        if key.startswith(active) and paths.job(TENANT, job_id) in objects:
            yield f"job {job_id}: its marker is still there"


def check_blobs(versions: Versions, objects: Mapping[str, bytes], settings: JobSettings) -> Iterator[str]:
    """What documents name is there and whole, and was made by the claim that published it, within its tries."""
    for _, history in versions.chains.items():
        for node in history[-1][1].nodes:
            if node.audio is None:
                continue
            for ref in (node.audio.blob, node.audio.lead_in, node.audio.original):
                if ref is not None:
                    yield from _check_blob(f"node {node.id}", ref, objects)
                    if node.job_id is not None and not ref.name.startswith(f"{node.job_id}-{node.fence}-"):
                        yield f"node {node.id} under claim {node.fence} has the audio {ref.name}"
    for key, data in objects.items():
        folder, _, name = key.removeprefix(_FOLDER).partition("/")
        if folder == "exports":
            export = EXPORTS.decode(json.loads(data)["record"])
            yield from _check_blob(f"export {name}", export.blob, objects)
        if folder == "blobs" and not name.startswith(("upload-", "export-")):
            job_id, _, fence = name.rsplit("-", 1)[0].rpartition("-")
            attempts = {job.fence: job.attempt for _, job in versions.jobs[job_id]}
            if attempts.get(int(fence), 0) > settings.max_attempts:
                yield f"job {job_id}: attempt {attempts[int(fence)]} worked"


def _check_blob(who: str, ref: BlobRef, objects: Mapping[str, bytes]) -> Iterator[str]:
    data = objects.get(paths.blob(TENANT, ref.name))
    if data is None:
        yield f"{who}: blob {ref.name} is gone"
    elif hashlib.sha256(data).hexdigest() != ref.sha256 or len(data) != ref.size_bytes:
        yield f"{who}: blob {ref.name} is damaged"


def check_promises(story: Story, versions: Versions) -> Iterator[str]:
    """Whatever a client was told is so: accepted work is there, once, and decisions were made."""
    promises = story.promises
    nodes_of: dict[str, list[Node]] = defaultdict(list)
    for history in versions.chains.values():
        alive = [chain for _, chain in history if chain.deleted_at is None]
        for node in alive[-1].nodes if alive else ():
            nodes_of[node.prompt].append(node)
    for prompt, takes in promises.takes.items():
        made, answers = nodes_of[prompt], promises.branches.get(prompt, [])
        told = {tuple(node.id for node in answer.nodes) for answer in answers}
        if len(told) > 1:
            yield f"request {prompt} was answered with different nodes: {told}"
        if answers and sorted(node.id for node in made) != sorted(next(iter(told))):
            yield f"request {prompt} was promised {told}, and made {[node.id for node in made]}"
        if len(made) > takes or len({node.take for node in made}) != len(made):
            yield f"request {prompt} for {takes} takes made {len(made)} nodes"
        yield from (
            f"request {prompt}: job {job.id} has no record"
            for answer in answers
            for job in answer.jobs
            if job.id not in versions.jobs
        )
        if story.plan.weather.is_harmless:
            yield from _check_harmless(versions, made)
    yield from (
        f"export {job_id} has no record" for job_id in promises.exports if job_id not in versions.jobs
    )
    yield from (
        f"job {job_id} was cancelled by a client and is {versions.job_now(job_id).state}"
        for job_id in promises.cancelled
        if not versions.job_now(job_id).state.is_finished
    )
    for chain in promises.chains:
        if chain not in [version for _, version in versions.chains[chain.id]]:
            yield f"chain {chain.id}: version {chain.version} was shown and never was"


def _check_harmless(versions: Versions, made: list[Node]) -> Iterator[str]:
    """Where no harm is done, nobody takes a job over, and nothing fails."""
    for node in made:
        job = versions.job_now(str(node.job_id))
        if job.fence > 1:
            yield f"job {job.id}: taken over in harmless weather"
        if node.status is NodeStatus.FAILED:
            yield f"job {job.id}: failed in harmless weather: {node.error}"
