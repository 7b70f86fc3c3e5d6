"""Event streams: a chain's changes and a job's, as server-sent events.

A stream begins with what the client lacks, wakes on notices, and polls in any case. It ends after
`max_stream_s`; the client reconnects with the last id it saw and misses nothing.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from configs.settings import EventSettings
from deployments.events.bus import ChainChanged, JobChanged, JobForeseen, JobProgressed, SegmentStored
from serve_app.events.frames import chain_frames, job_frame, progress_event
from serve_app.events.latest import LatestChains
from serve_app.events.listener import Heard, Listener, Subscription, ticks
from serve_app.http.sse import comment, frame, retry
from serve_app.jobs.service import JobService
from storage.domain.model import Chain, ChainNotFound

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
            for sent in chain_frames(chain, since, self._listener.sight):
                yield sent
            known = chain.version
            async for notice in self._with_heartbeats(subscription):
                match notice:
                    case JobForeseen() if _is_over(chain, notice):
                        continue
                    case JobProgressed() | JobForeseen():
                        yield frame("progress", progress_event(notice, self._listener.sight))
                        continue
                    case ChainChanged(version=version):
                        if version <= known:
                            continue
                        chain = await self._latest.get(tenant, chain_id, version=version)
                    case None | JobChanged() | SegmentStored():
                        chain = await self._latest.get(tenant, chain_id, max_age_s=self._settings.poll_s / 2)
                    case bytes():
                        yield notice
                        continue
                if chain.version > known:
                    for sent in chain_frames(chain, known, self._listener.sight):
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
            yield job_frame(shown, self._listener.sight)
            if shown.state.is_finished:
                return
            async for notice in self._with_heartbeats(subscription):
                match notice:
                    case JobProgressed() | JobForeseen():
                        if notice.job_id == job_id:
                            yield frame("progress", progress_event(notice, self._listener.sight))
                        continue
                    case bytes():
                        yield notice
                        continue
                job = await self._jobs.read(tenant, job_id)
                if (job.state, job.attempt) != (shown.state, shown.attempt):
                    yield job_frame(job, self._listener.sight)
                    shown = job
                if job.state.is_finished:
                    return

    async def _with_heartbeats(self, subscription: Subscription) -> AsyncIterator[Heard | bytes | None]:
        """The ticks, and heartbeats as frames."""
        beaten_s = time.monotonic()
        async for notice in ticks(subscription, self._settings):
            yield notice
            if time.monotonic() - beaten_s >= self._settings.heartbeat_s:
                beaten_s = time.monotonic()
                yield comment("heartbeat")


def _is_over(chain: Chain, job: JobForeseen) -> bool:
    """Whether what the job makes is finished: its runner reports it until it has tidied up."""
    node = chain.find(job.node_id) if job.node_id is not None else None
    if node is None:
        return False
    made = node if node.job_id == job.job_id else node.derivation(job.job_id)
    return made is not None and made.status.is_finished
