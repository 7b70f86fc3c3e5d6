"""Event streams: a chain's changes and a job's, as server-sent events.

A stream begins with what the client lacks, wakes on notices, and polls in any case. It ends after
`max_stream_s`; the client reconnects with the last id it saw and misses nothing.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from configs.settings import EventSettings
from deployments.events.bus import ChainChanged, JobProgressed, Notice
from serve_app.chains.schemas import StepView, chain_view, node_view, step_view
from serve_app.events.latest import LatestChains
from serve_app.events.listener import Listener, Subscription, ticks
from serve_app.http.sse import comment, frame, retry
from serve_app.jobs.schemas import job_view
from serve_app.jobs.service import JobService
from storage.domain.events import changes_since
from storage.domain.history import next_redo, next_undo
from storage.domain.jobs import Job
from storage.domain.model import Chain, ChainNotFound
from storage.domain.ranking import fellow_takes, ranks
from storage.domain.records import format_time
from storage.domain.tree import spine

RECONNECT_MS = 500


class EventStreams:
    def __init__(
        self, latest: LatestChains, jobs: JobService, listener: Listener, settings: EventSettings
    ) -> None:
        self._latest = latest
        self._jobs = jobs
        self._listener = listener
        self._settings = settings

    async def chain(self, tenant: str, chain_id: str, since: int | None) -> AsyncIterator[bytes]:
        """Frames for a chain after version `since`. Raises ChainNotFound before the first one only."""
        with self._listener.subscribe(tenant, chain_id) as subscription:
            chain = await self._latest.get(tenant, chain_id)
            if chain.deleted_at is not None:
                raise ChainNotFound(chain_id)
            yield retry(RECONNECT_MS)
            for sent in self._chain_frames(chain, since):
                yield sent
            known = chain.version
            async for notice in self._with_heartbeats(subscription):
                match notice:
                    case JobProgressed(node_id=node_id, job_id=job_id, progress=progress):
                        yield frame("progress", {"node_id": node_id, "job_id": job_id, "progress": progress})
                        continue
                    case ChainChanged(version=version):
                        if version <= known:
                            continue
                        chain = await self._latest.get(tenant, chain_id, version=version)
                    case None:
                        chain = await self._latest.get(tenant, chain_id, max_age_s=self._settings.poll_s / 2)
                    case bytes():
                        yield notice
                        continue
                if chain.version > known:
                    for sent in self._chain_frames(chain, known):
                        yield sent
                    known = chain.version
                if chain.deleted_at is not None:
                    return

    async def job(self, tenant: str, job_id: str) -> AsyncIterator[bytes]:
        """Frames for a job until it ends. Raises JobNotFound before the first one only."""
        job = await self._jobs.read(tenant, job_id)
        topics = [job_id, *([job.chain_id] if job.chain_id else [])]
        with self._listener.subscribe(tenant, *topics) as subscription:
            yield retry(RECONNECT_MS)
            shown = await self._jobs.read(tenant, job_id)
            yield self._job_frame(shown)
            if shown.state.is_finished:
                return
            async for notice in self._with_heartbeats(subscription):
                match notice:
                    case JobProgressed(job_id=about, progress=progress):
                        if about == job_id:
                            yield frame("progress", {"job_id": job_id, "progress": progress})
                        continue
                    case bytes():
                        yield notice
                        continue
                job = await self._jobs.read(tenant, job_id)
                if (job.state, job.attempt) != (shown.state, shown.attempt):
                    yield self._job_frame(job)
                    shown = job
                if job.state.is_finished:
                    return

    async def _with_heartbeats(self, subscription: Subscription) -> AsyncIterator[Notice | bytes | None]:
        """The ticks, and heartbeats as frames."""
        beaten_s = time.monotonic()
        async for notice in ticks(subscription, self._settings):
            yield notice
            if time.monotonic() - beaten_s >= self._settings.heartbeat_s:
                beaten_s = time.monotonic()
                yield comment("heartbeat")

    def _chain_frames(self, chain: Chain, since: int | None) -> Iterator[bytes]:
        if chain.deleted_at is not None:
            yield frame("chain", _chain_header(chain), id=chain.version)
            return
        progress_of = self._listener.progress_of
        changes = changes_since(chain, since)
        if changes.snapshot:
            yield frame("snapshot", chain_view(chain, progress_of).model_dump(), id=chain.version)
            return
        if chain.version == since:
            return
        ranked = ranks(chain)
        for node in (*changes.nodes, *fellow_takes(chain, changes.nodes)):
            shown = node_view(chain.id, node, progress_of, rank=ranked.get(node.id))
            yield frame("node", shown.model_dump())
        yield frame("chain", _chain_header(chain), id=chain.version)

    def _job_frame(self, job: Job) -> bytes:
        return frame("job", job_view(job, self._listener.progress_of).model_dump())


def _steps(chain: Chain) -> dict[str, StepView | None]:
    return {"undo": step_view(next_undo(chain)), "redo": step_view(next_redo(chain))}


def _chain_header(chain: Chain) -> dict[str, Any]:
    """A chain without its nodes: the last frame of every change."""
    return {
        "id": chain.id,
        "title": chain.title,
        "version": chain.version,
        "updated_at": format_time(chain.updated_at),
        "root_id": chain.root_id,
        "sample_rate_hz": chain.sample_rate_hz,
        "channels": chain.channels,
        "spine": [node.id for node in spine(chain)],
        **{name: step and step.model_dump() for name, step in _steps(chain).items()},
        "deleted": chain.deleted_at is not None,
    }
