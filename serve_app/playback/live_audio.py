"""A take's audio from its first sample on, for who listens while it is being made.

It comes out of the segments of the newest claim on the job, and out of the node once that is ready. Both hold
the same samples, so a listener goes over from the one to the other, or from a dead claim's segments to those of
its heir, at the same sample. Whether an heir's samples are in fact the same is looked at, not believed.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from configs.settings import EventSettings
from deployments.audio.samples import SoundFormat
from deployments.audio.wav import BYTES_PER_SAMPLE, NotOurWav
from deployments.events.bus import JobForeseen, JobProgressed, SegmentStored
from deployments.specs.generate import GenerateSpec
from serve_app.events.listener import Heard, Listener, Subscription, segments_of, ticks
from serve_app.http.problems import Conflict, NotFound, Problem, Unavailable
from serve_app.http.streaming import BrokenOff
from serve_app.jobs.service import JobService
from serve_app.playback.recordings import NodeRecording, Recording, SegmentRecording, Stretch
from serve_app.playback.transcript import Diverged, Transcript
from storage.domain.jobs import Job, JobKind, JobState
from storage.domain.model import DomainError, Node
from storage.repositories.blobs import Blobs
from storage.repositories.chains import Chains
from storage.repositories.segments import Segments
from storage.stores.object_store import StoreError, StoreUnavailable

logger = logging.getLogger("segue.live")

NOTHING_YET_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class LiveSound:
    """A whole take, `samples` per channel. `data` gives them as they come: interleaved, float32 little-endian,
    whole frames at a time. It raises BrokenOff where the take does not come to its end."""

    format: SoundFormat
    samples: int
    data: AsyncGenerator[bytes]


class LiveAudio:
    def __init__(
        self,
        jobs: JobService,
        chains: Chains,
        blobs: Blobs,
        segments: Segments,
        listener: Listener,
        settings: EventSettings,
    ) -> None:
        self._jobs = jobs
        self._chains = chains
        self._blobs = blobs
        self._segments = segments
        self._listener = listener
        self._settings = settings

    async def ready_node(self, tenant: str, job_id: str) -> Node | None:
        """The job's node, if it has its audio; None while there is still hope for it.

        Raises JobNotFound, NotFound for a job that makes no take, Conflict for a take that ended without audio,
        ChainNotFound if the chain was deleted.
        """
        job = await self._job(tenant, job_id)
        return await self._node(job) if job.state.is_finished else None

    async def length(self, tenant: str, job_id: str) -> tuple[SoundFormat, int] | None:
        """The take's format and samples per channel, before its first sample is there; None where the format is
        the model's own and no one knows it yet. Raises as `ready_node`."""
        job = await self._job(tenant, job_id)
        if job.state.is_finished:
            audio = (await self._node(job)).audio
            return (
                None if audio is None else (SoundFormat(audio.sample_rate_hz, audio.channels), audio.samples)
            )
        chain = await self._chains.find(tenant, str(job.chain_id))
        if chain is None or chain.sample_rate_hz is None or chain.channels is None:
            return None
        sound = SoundFormat(chain.sample_rate_hz, chain.channels)
        return sound, _samples(job, sound)

    async def open(self, tenant: str, job_id: str) -> LiveSound:
        """The take, as soon as its first samples are there.

        Raises what `ready_node` raises, and Unavailable if nothing came for as long as a stream may live.
        """
        job = await self._job(tenant, job_id)
        stretches = self._stretches(job)
        first = await anext(stretches)

        async def data() -> AsyncGenerator[bytes]:
            async with aclosing(stretches):
                try:
                    yield bytes(first.data)
                    async for stretch in stretches:
                        yield bytes(stretch.data)
                except (Problem, DomainError, StoreError, Diverged, NotOurWav) as error:
                    raise BrokenOff(f"the audio of job {job_id} breaks off: {error!r}") from error

        return LiveSound(first.format, _samples(job, first.format), data())

    async def _stretches(self, job: Job) -> AsyncGenerator[Stretch]:
        """The take as it comes, each sample once."""
        transcript = Transcript()
        recording: Recording = self._segments_of(job)
        with self._listener.subscribe(job.tenant, str(job.chain_id), segments_of(job.id)) as subscription:
            async for notice in _looks(subscription, self._settings):
                if isinstance(notice, JobProgressed | JobForeseen):
                    continue
                try:
                    if not (isinstance(notice, SegmentStored) and notice.fence == recording.fence):
                        job = await self._job(job.tenant, job.id)
                        recording = await self._newest(job, recording, transcript)
                    async for stretch in recording.available():
                        new = transcript.take(stretch.data)
                        if new:
                            yield Stretch(stretch.format, new)
                        if transcript.given_bytes == _data_bytes(job, stretch.format):
                            return
                except StoreUnavailable as error:
                    if not transcript.given_bytes:
                        raise
                    logger.info("job %s: a listener waits for the store: %r", job.id, error)
        raise Unavailable(f"job {job.id} is still {job.state}", retry_after_s=NOTHING_YET_RETRY_S)

    async def _newest(self, job: Job, recording: Recording, transcript: Transcript) -> Recording:
        """The recording to go on with as the job is now. Raises as `ready_node` where there will be none."""
        if not job.state.is_finished:
            if job.fence == recording.fence:
                return recording
            transcript.begin_recording()
            return self._segments_of(job)
        if isinstance(recording, NodeRecording):
            return recording
        audio = (await self._node(job)).audio
        if audio is None:
            raise Conflict(f"job {job.id} made no audio")
        ready = NodeRecording(self._blobs, job.tenant, audio)
        if ready.fence == recording.fence:
            ready.skip(transcript.position_bytes)
        else:
            transcript.begin_recording()
        return ready

    def _segments_of(self, job: Job) -> SegmentRecording:
        return SegmentRecording(self._segments, job.tenant, job.id, job.fence)

    async def _job(self, tenant: str, job_id: str) -> Job:
        job = await self._jobs.read(tenant, job_id)
        if job.kind is not JobKind.GENERATE:
            raise NotFound(f"job {job_id} makes no take: there is nothing to listen to")
        return job

    async def _node(self, job: Job) -> Node:
        """Of a job that has ended. A chain that was deleted is gone, whatever became of its job."""
        chain = await self._chains.load(job.tenant, str(job.chain_id))
        if job.state is not JobState.SUCCEEDED:
            why = f": {job.error.detail}" if job.error is not None else ""
            raise Conflict(
                f"job {job.id} {_ENDED[job.state]}{why}", code=f"job-{job.state}", members={"job_id": job.id}
            )
        return chain.node(str(job.node_id))


_ENDED = {JobState.FAILED: "failed", JobState.CANCELLED: "was cancelled"}


async def _looks(subscription: Subscription, settings: EventSettings) -> AsyncIterator[Heard | None]:
    """A first look at once, then with every tick."""
    yield None
    async for notice in ticks(subscription, settings):
        yield notice


def _samples(job: Job, sound: SoundFormat) -> int:
    """Per channel, of the whole take."""
    return round(GenerateSpec.from_record(job.params).node.duration_s * sound.rate_hz)


def _data_bytes(job: Job, sound: SoundFormat) -> int:
    return _samples(job, sound) * sound.channels * BYTES_PER_SAMPLE
