"""What must be true of a story: the invariants of every store, and that all clients were told is so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from storage.domain.model import Node, NodeStatus
from tests.simulation.clients import TENANT
from tests.simulation.world import Story
from tests.support.invariants import (
    Versions,
    check_blobs,
    check_chain_history,
    check_end,
    check_job_history,
    check_markers,
    check_request,
    check_shape,
    read_versions,
)


def violations(story: Story) -> list[str]:
    """All that is wrong with a story; nothing if all is well."""
    versions = read_versions(story.history, TENANT)
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
    found += check_blobs(versions, story.objects, settings, TENANT)
    if story.at_rest:
        found += check_markers(story.objects, TENANT)
        found += check_promises(story, versions)
    return list(dict.fromkeys(found))


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
        yield from check_request(prompt, takes, told, made)
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
    for job_id in promises.cancelled:
        job = versions.job_now(job_id)
        if job is None or not job.state.is_finished:
            yield f"job {job_id} was cancelled by a client and is {job.state if job else 'gone'}"
    for chain in promises.chains:
        if chain not in [version for _, version in versions.chains[chain.id]]:
            yield f"chain {chain.id}: version {chain.version} was shown and never was"


def _check_harmless(versions: Versions, made: list[Node]) -> Iterator[str]:
    """Where no harm is done, nobody takes a job over, and nothing fails."""
    for node in made:
        job = versions.job_now(str(node.job_id))
        if job is not None and job.fence > 1:
            yield f"job {job.id}: taken over in harmless weather"
        if node.status is NodeStatus.FAILED:
            yield f"job {node.job_id}: failed in harmless weather: {node.error}"
