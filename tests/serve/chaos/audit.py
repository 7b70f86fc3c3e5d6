"""What must hold after a run, checked from storage alone and against what users were told; no server runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from configs.settings import JobSettings
from storage import paths
from storage.domain.jobs import Job, JobKind, JobState
from storage.domain.model import Chain, Decision, Node, NodeStatus
from storage.domain.tree import spine
from tests.serve.chaos.promises import Promises, Shown, Sight
from tests.support.invariants import (
    Versions,
    check_blobs,
    check_chain_history,
    check_end,
    check_job_history,
    check_markers,
    check_request,
    check_shape,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One invariant, on how many objects it was checked, and where it does not hold."""

    invariant: str
    checked: int
    of_what: str
    violations: tuple[str, ...]

    def __str__(self) -> str:
        verdict = "holds" if not self.violations else f"{len(self.violations)} VIOLATIONS"
        lines = [f"{self.invariant}: {self.checked} {self.of_what}, {verdict}"]
        return "\n  ".join((*lines, *self.violations))


@dataclass(frozen=True)
class Case:
    """What is judged. `objects` are the tenant's by their keys, `versions` all that are kept of its documents."""

    objects: Mapping[str, bytes]
    versions: Versions
    promises: Promises
    settings: JobSettings
    tenant: str

    @cached_property
    def chains(self) -> dict[str, Chain]:
        return {chain_id: history[-1][1] for chain_id, history in self.versions.chains.items()}

    @cached_property
    def jobs(self) -> dict[str, Job]:
        return {job_id: history[-1][1] for job_id, history in self.versions.jobs.items()}

    @cached_property
    def nodes(self) -> dict[str, Node]:
        return {node.id: node for chain in self.chains.values() for node in chain.nodes}

    @property
    def stray_markers(self) -> int:
        """Of requests that were broken off before there was a record, and never made again: lawful."""
        active = paths.active_folder(self.tenant)
        marked = (key.removeprefix(active) for key in self.objects if key.startswith(active))
        return sum(job_id not in self.jobs for job_id in marked)

    def ended(self, state: JobState) -> list[Job]:
        return [job for job in self.jobs.values() if job.state is state]


def audit(case: Case) -> list[Finding]:
    """Every invariant there is."""
    return [check(case) for check in CHECKS]


def accepted_jobs_ended(case: Case) -> Finding:
    accepted = sorted(case.promises.accepted_jobs)

    def wrong() -> Iterator[str]:
        for job_id in accepted:
            job = case.jobs.get(job_id)
            if job is None or not job.state.is_finished:
                yield f"job {job_id} is {job.state if job is not None else 'gone'}"

    return _finding("every accepted job has ended", len(accepted), "jobs", wrong())


def jobs_end_as_their_chains_say(case: Case) -> Finding:
    def wrong() -> Iterator[str]:
        for job in case.jobs.values():
            for violation in check_end(job, case.chains.get(str(job.chain_id))):
                yield f"job {job.id}: {violation}"

    return _finding("a job ends once, as its chain says", len(case.jobs), "jobs", wrong())


def what_succeeded_is_there(case: Case) -> Finding:
    succeeded = case.ended(JobState.SUCCEEDED)

    def wrong() -> Iterator[str]:
        for job in succeeded:
            if job.kind is JobKind.GENERATE:
                yield from _wrong_take(case, job)
            elif paths.export(case.tenant, str((job.result or {}).get("export_id"))) not in case.objects:
                yield f"job {job.id}: its export is not there"

    return _finding(
        "what succeeded is ready, with the exact number of samples", len(succeeded), "jobs", wrong()
    )


def _wrong_take(case: Case, job: Job) -> Iterator[str]:
    node, chain = case.nodes.get(str(job.node_id)), case.chains.get(str(job.chain_id))
    if node is None or chain is None or node.status is not NodeStatus.READY or node.audio is None:
        yield f"job {job.id}: its node is {node.status if node is not None else 'gone'}"
        return
    samples = round(job.params["node"]["duration_s"] * node.audio.sample_rate_hz)
    if node.audio.samples != samples or node.audio.sample_rate_hz != chain.sample_rate_hz:
        yield f"node {node.id}: {node.audio.samples} samples, not {samples}"


def blobs_are_whole(case: Case) -> Finding:
    named = sum(1 for node in case.nodes.values() if node.audio is not None)
    exports = sum(1 for key in case.objects if key.startswith(paths.folder(case.tenant, "exports")))
    wrong = check_blobs(case.versions, case.objects, case.settings, case.tenant)
    return _finding(
        "a blob that is named is there, hashes right, and is the publishing claim's",
        named + exports,
        "nodes and exports",
        wrong,
    )


def nothing_is_unfinished(case: Case) -> Finding:
    wrong = (
        f"node {node.id} is {node.status}" for node in case.nodes.values() if not node.status.is_finished
    )
    return _finding("no node is pending or running", len(case.nodes), "nodes", wrong)


def no_marker_is_left(case: Case) -> Finding:
    wrong = check_markers(case.objects, case.tenant)
    return _finding("no job is marked as active", len(case.jobs), "jobs", wrong)


def chains_are_lawful(case: Case) -> Finding:
    versions = [chain for history in case.versions.chains.values() for _, chain in history]
    wrong = (
        f"chain {chain.id} v{chain.version}: {violation}"
        for chain in versions
        for violation in check_shape(chain)
    )
    return _finding("a chain is a tree with one spine, at every version", len(versions), "versions", wrong)


def chains_only_grow(case: Case) -> Finding:
    wrong = (
        f"chain {chain_id}: {violation}"
        for chain_id, history in case.versions.chains.items()
        for violation in check_chain_history([chain for _, chain in history])
    )
    steps = sum(len(history) - 1 for history in case.versions.chains.values())
    return _finding(
        "no update is lost, a node's fence only rises, what has ended stays", steps, "changes", wrong
    )


def jobs_move_lawfully(case: Case) -> Finding:
    wrong = (
        f"job {job_id}: {violation}"
        for job_id, history in case.versions.jobs.items()
        for violation in check_job_history(history, case.settings)
    )
    steps = sum(len(history) - 1 for history in case.versions.jobs.values())
    return _finding(
        "a fence for each claim, beats of its holder alone, no lease cut short", steps, "changes", wrong
    )


def a_node_has_one_audio(case: Case) -> Finding:
    hashes: dict[str, set[str]] = defaultdict(set)
    for history in case.versions.chains.values():
        for _, chain in history:
            for node in chain.nodes:
                if node.audio is not None:
                    hashes[node.id].add(node.audio.blob.sha256)
    for node_id, heard in case.promises.heard.items():
        hashes[node_id] |= heard
    wrong = (f"node {node_id} had {sorted(all_)}" for node_id, all_ in hashes.items() if len(all_) > 1)
    return _finding("no node ever had two audios, in storage or by ear", len(hashes), "nodes", wrong)


def requests_are_done_once(case: Case) -> Finding:
    made: dict[str, list[Node]] = defaultdict(list)
    for node in case.nodes.values():
        made[node.prompt].append(node)
    requests = case.promises.requests

    def wrong() -> Iterator[str]:
        for request in requests:
            told = {node_ids for node_ids, _ in request.answers}
            yield from check_request(request.prompt, request.takes, told, made[request.prompt])

    repeated = sum(request.times_sent > 1 for request in requests)
    return _finding(
        f"a key makes one set of nodes ({repeated} were sent more than once)",
        len(requests),
        "requests",
        wrong(),
    )


def decisions_stay(case: Case) -> Finding:
    promises = case.promises

    def wrong() -> Iterator[str]:
        for job_id in sorted(promises.cancelled):
            job = case.jobs.get(job_id)
            node = case.nodes.get(str(job.node_id)) if job is not None else None
            if job is None or job.state is not JobState.CANCELLED:
                yield f"job {job_id} was cancelled and is {job.state if job is not None else 'gone'}"
            elif node is not None and node.status is not NodeStatus.CANCELLED:
                yield f"job {job_id} was cancelled and its node is {node.status}"
        for node_id in sorted(promises.discarded):
            node = case.nodes.get(node_id)
            if node is None or node.decision is not Decision.DISCARDED:
                yield f"node {node_id} was discarded and is {node.decision if node is not None else 'gone'}"

    told = len(promises.cancelled) + len(promises.discarded)
    return _finding("cancelled and discarded stay so", told, "decisions", wrong())


def what_was_shown_was_so(case: Case) -> Finding:
    spines = {
        (chain.id, chain.version): tuple(node.id for node in spine(chain))
        for history in case.versions.chains.values()
        for _, chain in history
    }

    def wrong(shown: Shown) -> bool:
        chain = case.chains.get(shown.chain_id)
        if chain is None or shown.version > chain.version:
            return True
        all_are_kept = len(case.versions.chains[chain.id]) == chain.version
        was = spines.get((shown.chain_id, shown.version))
        return was != shown.spine if was is not None else all_are_kept

    shown = case.promises.shown
    return _finding(
        "a chain that an answer showed was so in storage",
        len(shown),
        "answers",
        (f"chain {each.chain_id} v{each.version} with spine {each.spine}" for each in shown if wrong(each)),
    )


def uploads_are_kept(case: Case) -> Finding:
    wrong = (
        f"chain {chain_id} was uploaded and is not there"
        for chain_id in sorted(case.promises.uploads)
        if chain_id not in case.chains
    )
    return _finding("an upload that was answered is there", len(case.promises.uploads), "uploads", wrong)


def pages_saw_the_end(case: Case) -> Finding:
    def differences(sight: Sight) -> Iterator[str]:
        chain = case.chains[sight.chain_id]
        truth = {
            node.id: (node.status.value, node.decision.value, node.audio.blob.sha256 if node.audio else None)
            for node in chain.nodes
        }
        for node_id in sorted(truth.keys() | sight.nodes.keys()):
            if truth.get(node_id) != sight.nodes.get(node_id):
                yield (
                    f"chain {chain.id} v{chain.version}, page at v{sight.version}: node {node_id} is "
                    f"{truth.get(node_id)} and was last seen as {sight.nodes.get(node_id)}"
                )

    sights = case.promises.sights
    return _finding(
        "an event stream, resumed whenever it was cut, tells the end of everything",
        len(sights),
        "pages",
        (difference for sight in sights for difference in differences(sight)),
    )


CHECKS: tuple[Callable[[Case], Finding], ...] = (
    accepted_jobs_ended,
    jobs_end_as_their_chains_say,
    what_succeeded_is_there,
    blobs_are_whole,
    nothing_is_unfinished,
    no_marker_is_left,
    chains_are_lawful,
    chains_only_grow,
    jobs_move_lawfully,
    a_node_has_one_audio,
    requests_are_done_once,
    decisions_stay,
    what_was_shown_was_so,
    uploads_are_kept,
    pages_saw_the_end,
)


def _finding(invariant: str, checked: int, of_what: str, violations: Iterable[str]) -> Finding:
    return Finding(invariant, checked, of_what, tuple(violations))
