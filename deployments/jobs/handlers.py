"""What each kind of job does under a claim. The worker owns claims, beats and ends; a handler owns the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from deployments.export.plan import AudioFormat, EncodePlan, Metadata
from deployments.jobs.broadcast import broadcasting
from deployments.stages.export import ExportStage, FrozenLine
from deployments.stages.generate import GenerateStage
from storage.chain import edits
from storage.chain.jobs import Job, JobState
from storage.chain.model import (
    Chain,
    ChainDeleted,
    ChainNotFound,
    Failure,
    Fenced,
    Node,
    NodeNotFound,
    Refused,
)
from storage.chain.outcomes import CHAIN_GONE, Outcome, outcome_in_chain
from storage.chain.records import audio_from_record, audio_to_record, node_from_record, node_to_record
from storage.chains import Chains
from storage.exports import Export
from storage.segments import Segments

Progress = Callable[[float], None]


class JobHandler(Protocol):
    async def open(self, job: Job) -> Outcome | None:
        """The first step under a claim; an outcome if there is nothing left to do.

        Also finishes what the process that accepted the job may have left half done. Raises Fenced.
        """
        ...

    async def decided(self, job: Job) -> Outcome | None:
        """An outcome that came from elsewhere meanwhile, a cancellation above all."""
        ...

    async def run(self, job: Job, on_progress: Progress) -> Outcome:
        """The work, up to and including its commit point. Raises Fenced."""
        ...

    async def fail(self, job: Job, failure: Failure) -> Outcome:
        """Make a failure known where this kind of job publishes. Raises Fenced."""
        ...


class GenerateHandler:
    """A take of MusicGen. Its commit point is the chain: the node is ready, or it is not."""

    def __init__(self, chains: Chains, stage: GenerateStage, segments: Segments) -> None:
        self._chains = chains
        self._stage = stage
        self._segments = segments

    async def open(self, job: Job) -> Outcome | None:
        node = node_from_record(job.params["node"])
        try:
            await ensure_node(self._chains, job, node)
            chain = await self._change(job, partial(_start, node.id, job.fence))
        except (ChainDeleted, ChainNotFound):
            return CHAIN_GONE
        except (Refused, NodeNotFound) as error:
            return Outcome(JobState.FAILED, error=Failure("conflict", str(error)))
        return outcome_in_chain(chain, job) or await self._cancelled_in_record(job)

    async def decided(self, job: Job) -> Outcome | None:
        chain = await self._chains.find(job.tenant, str(job.chain_id))
        return outcome_in_chain(chain, job) or await self._cancelled_in_record(job)

    async def run(self, job: Job, on_progress: Progress) -> Outcome:
        chain = await self._chains.load(job.tenant, str(job.chain_id))
        node = chain.node(str(job.node_id))
        async with broadcasting(self._segments, job, node.duration_s) as broadcast:
            owner = f"{job.id}-{job.fence}"
            made = await self._stage.run(chain, node, owner, on_progress, broadcast.push)
            return await self._end(
                job,
                lambda chain, now: edits.publish(chain, node.id, job.fence, made.audio, made.provenance, now),
            )

    async def fail(self, job: Job, failure: Failure) -> Outcome:
        node_id = str(job.node_id)
        try:
            return await self._end(
                job,
                lambda chain, now: edits.fail(
                    edits.start(chain, node_id, job.fence, now), node_id, job.fence, failure, now
                ),
            )
        except NodeNotFound:  # every attempt died before it could bring the node into the chain
            return Outcome(JobState.FAILED, error=failure)

    async def _cancelled_in_record(self, job: Job) -> Outcome | None:
        """A cancellation that came before the node was in its chain, so that the record alone has it."""
        if not job.cancel_requested:
            return None
        try:
            return await self._end(job, lambda chain, now: edits.cancel(chain, str(job.node_id), now))
        except NodeNotFound:
            return Outcome(JobState.CANCELLED)

    async def _end(self, job: Job, edit: Callable[[Chain, datetime], Chain]) -> Outcome:
        try:
            chain = await self._change(job, edit)
        except (ChainDeleted, ChainNotFound):
            return CHAIN_GONE
        outcome = outcome_in_chain(chain, job)
        if outcome is None:
            raise Fenced(f"job {job.id} did not end its node")
        return outcome

    async def _change(self, job: Job, edit: Callable[[Chain, datetime], Chain]) -> Chain:
        return await self._chains.change(job.tenant, str(job.chain_id), edit)


def _start(node_id: str, fence: int, chain: Chain, now: datetime) -> Chain:
    return edits.start(chain, node_id, fence, now)


async def ensure_node(chains: Chains, job: Job, node: Node) -> Chain:
    """Bring a generate job's node into its chain, and make the chain if the node is its root.

    Idempotent: the ingress does it when it accepts a job, the runner again. Raises Refused, ChainDeleted,
    ChainNotFound.
    """
    if node.parent_id is None:
        chain, _ = await chains.create(
            edits.new_chain(
                chain_id=str(job.chain_id),
                tenant=job.tenant,
                title=str(job.params["title"]),
                root=node,
                now=node.created_at,
                request_sha256=job.request_sha256,
            )
        )
        return chain
    return await chains.change(
        job.tenant, str(job.chain_id), lambda chain, now: edits.add_nodes(chain, [node], now)
    )


def generate_params(chain_id: str, node: Node, title: str | None = None) -> dict[str, Any]:
    """The parameters of a generate job's record. `title` is the chain's, for a root that makes it."""
    return {
        "chain_id": chain_id,
        "node_id": node.id,
        "node": node_to_record(node),
        **({} if title is None else {"title": title}),
    }


class ExportHandler:
    """A file made of a frozen line. It publishes in its own record, by way of `exports/{hash}`."""

    def __init__(self, stage: ExportStage) -> None:
        self._stage = stage

    async def open(self, job: Job) -> Outcome | None:
        return await self.decided(job)

    async def decided(self, job: Job) -> Outcome | None:
        return Outcome(JobState.CANCELLED) if job.cancel_requested else None

    async def run(self, job: Job, on_progress: Progress) -> Outcome:
        line = FrozenLine(tuple(audio_from_record(audio) for audio in job.params["line"]))
        export = await self._stage.run(
            job.tenant, line, encode_plan(job.params["encode"]), str(job.params["filename"])
        )
        return Outcome(JobState.SUCCEEDED, export_result(export))

    async def fail(self, job: Job, failure: Failure) -> Outcome:
        return Outcome(JobState.FAILED, error=failure)


def export_params(chain_id: str, line: FrozenLine, encode: EncodePlan, filename: str) -> dict[str, Any]:
    """The parameters of an export job's record: all that it needs, so that later commits change nothing."""
    return {
        "chain_id": chain_id,
        "line": [audio_to_record(audio) for audio in line.nodes],
        "encode": asdict(encode),
        "filename": filename,
    }


def encode_plan(record: Mapping[str, Any]) -> EncodePlan:
    """The encode plan of an export job's parameters."""
    return EncodePlan(
        **{
            **record,
            "format": AudioFormat(record["format"]),
            "metadata": Metadata(**record["metadata"]),
        }
    )


def export_result(export: Export) -> dict[str, Any]:
    """What a finished export job shows as its result."""
    return {
        "export_id": export.id,
        "filename": export.filename,
        "media_type": export.media_type,
        "size_bytes": export.blob.size_bytes,
        "duration_s": export.duration_s,
    }
