"""A laboratory for workers: what the API would write, workers that share a store, and looks at what came of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from configs.environment import load_settings
from configs.settings import JobSettings
from deployments.audio.wav import encode_wav
from deployments.engines.music.protocol import (
    MusicGenerator,
)
from deployments.events.bus import Announcer, LocalBus
from deployments.export.ffmpeg import find_ffmpeg
from deployments.specs.generate import GenerateSpec, ensure_node
from deployments.specs.spec import JobSpec, new_job
from deployments.stages.export.stage import ExportStage
from deployments.stages.generate import GenerateStage
from deployments.worker.handlers.export import ExportHandler
from deployments.worker.handlers.generate import GenerateHandler
from deployments.worker.handlers.handler import JobHandler
from deployments.worker.heartbeat import Heart
from deployments.worker.machines import Machines
from deployments.worker.worker import Worker
from storage.domain import edits
from storage.domain.jobs import Job, JobKind, JobState, claim, sign_of
from storage.domain.model import Chain, Node, NodeAudio, NodeStatus, Origin
from storage.repositories.blobs import Blobs
from storage.repositories.chains import CODEC as CHAIN_CODEC
from storage.repositories.chains import Chains
from storage.repositories.exports import Exports
from storage.repositories.jobs import JobKey, Jobs
from storage.repositories.segments import Segments
from storage.stores.clock import utc_now
from storage.stores.object_store import ObjectStore
from tests.deployments.worker.generators import MODEL, RATE_HZ, TAKE_S, ScriptedGenerator, take_audio
from tests.deployments.worker.wire import RecordingStore, Wire
from tests.support.patience import until

TENANT = "t"
CHAIN = "c"

PARAMS: dict[str, Any] = {
    "mode": "continue",
    "prompt_duration_s": 0.1,
    "cfg_coef": 3.0,
    "temperature": 1.0,
    "top_k": 250,
    "top_p": 0.0,
    "model": MODEL,
}


def job_settings(**changes: Any) -> JobSettings:
    """Quick ones: a lease that a busy machine still keeps, and a takeover about a second after a death."""
    quick = {
        "lease_s": 6.0,
        "takeover_grace_s": 0.1,
        "sweep_s": 0.02,
        "watch_s": 0.05,
        "retry_delay_s": 0.01,
        "longest_pause_s": 0.2,
        "deadline_s": 30.0,
    }
    return load_settings({"jobs": {**quick, **changes}}, environ={}).jobs


@dataclass
class Lab:
    """The shared world: what clients of the API and all workers see."""

    store: RecordingStore = field(default_factory=RecordingStore)

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.store)
        self.chains = Chains(self.store)
        self.blobs = Blobs(self.store)
        self.bus = LocalBus()

    def worker(
        self,
        generator: MusicGenerator | None = None,
        *,
        store: ObjectStore | None = None,
        handlers: dict[JobKind, JobHandler] | None = None,
        ffmpeg: Path | None = None,
        ffmpeg_timeout_s: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
        machines: Machines | None = None,
        **settings: Any,
    ) -> Worker:
        own = store or self.store
        blobs = Blobs(own)
        chosen = handlers or {
            JobKind.GENERATE: GenerateHandler(
                Chains(own), GenerateStage(blobs, {MODEL: generator or ScriptedGenerator()}), Segments(own)
            ),
            JobKind.EXPORT: ExportHandler(
                ExportStage(blobs, Exports(own), ffmpeg or find_ffmpeg(), ffmpeg_timeout_s), blobs
            ),
        }
        return Worker(
            Jobs(own), chosen, job_settings(**settings), Announcer(self.bus), monotonic, machines=machines
        )

    async def upload(self, chain_id: str = CHAIN) -> Chain:
        """A chain with a short uploaded root `root`."""
        samples = take_audio(0.2, 0.2)
        audio = NodeAudio(
            blob=await self.blobs.put(TENANT, f"upload-{chain_id}", encode_wav(samples, RATE_HZ)),
            samples=samples.shape[1],
            sample_rate_hz=RATE_HZ,
            channels=1,
            rms_dbfs=-14.0,
            peak_dbfs=-14.0,
        )
        root = Node(
            id="root",
            parent_id=None,
            origin=Origin.UPLOAD,
            created_at=utc_now(),
            status=NodeStatus.READY,
            duration_s=audio.duration_s,
            audio=audio,
        )
        chain, _ = await self.chains.create(
            edits.new_chain(chain_id=chain_id, tenant=TENANT, title="", root=root, now=utc_now())
        )
        return chain

    async def accept(
        self,
        name: str = "one",
        *,
        parent_id: str | None = "root",
        chain_id: str = CHAIN,
        add_node: bool = True,
        title: str | None = None,
        **params: Any,
    ) -> JobKey:
        """What the ingress does with a request for one take: the job `{name}`, then its node `{name}-node`.

        `add_node=False`: it dies in between.
        """
        node = Node(
            id=f"{name}-node",
            parent_id=parent_id,
            origin=Origin.GENERATION,
            created_at=utc_now(),
            duration_s=TAKE_S,
            prompt="strings",
            params={**PARAMS, **params},
            seed=7,
            job_id=name,
        )
        job = queued(name, GenerateSpec(chain_id, node, title))
        await self.jobs.create(job)
        if add_node:
            await ensure_node(self.chains, job)
        return JobKey(TENANT, name)

    async def take(self, name: str = "one", **options: Any) -> JobKey:
        """`accept` in a chain with an uploaded root."""
        await self.upload()
        return await self.accept(name, **options)

    async def job(self, name: str = "one") -> Job:
        return await self.jobs.load(TENANT, name)

    async def node(self, name: str = "one", chain_id: str = CHAIN) -> Node:
        return (await self.chains.load(TENANT, chain_id)).node(f"{name}-node")

    async def has(self, name: str, state: JobState) -> bool:
        job = await self.jobs.find(TENANT, name)
        return job is not None and job.state is state

    async def ended(self, name: str = "one") -> Job:
        """The job once it has ended and its marker has gone."""

        async def is_over() -> bool:
            job = await self.jobs.find(TENANT, name)
            return (
                job is not None
                and job.state.is_finished
                and JobKey(TENANT, name) not in await self.jobs.active()
            )

        await until(is_over)
        return await self.job(name)

    def versions(self, chain_id: str = CHAIN) -> list[Chain]:
        """Every version that the chain's document has had."""
        documents = [data for key, data in self.store.history if key.endswith(f"chains/{chain_id}.json")]
        return [CHAIN_CODEC.decode(record_of(document)) for document in documents]

    def records(self, name: str) -> list[dict[str, Any]]:
        """Every version that a job's record has had."""
        return [record_of(data) for key, data in self.store.history if key.endswith(f"jobs/{name}.json")]

    def check_history(self, chain_id: str = CHAIN) -> None:
        """Versions rise and fences never fall, no node is lost, and what has ended never changes."""
        versions = self.versions(chain_id)
        assert all(earlier.version < later.version for earlier, later in pairwise(versions))
        seen: dict[str, Node] = {}
        for chain in versions:
            assert chain.deleted_at is not None or seen.keys() <= {node.id for node in chain.nodes}
            for node in chain.nodes:
                before = seen.get(node.id)
                if before is not None:
                    assert node.fence >= before.fence
                    if before.status.is_finished:
                        assert replace(node, decision=before.decision, changed_version=0) == replace(
                            before, changed_version=0
                        )
                seen[node.id] = node

    async def published_by(self, name: str = "one") -> int:
        """The fence of the claim whose audio the ready node has."""
        audio = (await self.node(name)).audio
        assert audio is not None
        return int(audio.blob.name.removeprefix(f"{name}-").split("-")[0])


def queued(name: str, spec: JobSpec) -> Job:
    return new_job(spec, job_id=name, tenant=TENANT, request_sha256="ab" * 32, now=utc_now())


def dead_claim(job: Job, now: datetime) -> Job:
    """An edit: a claim, with a lease of 0.2 s, whose holder died at once."""
    stale = sign_of(job) if job.state is JobState.RUNNING else None
    return claim(job, lease_s=0.2, max_attempts=None, stale=stale, now=now)


def record_of(document: bytes) -> Any:
    return json.loads(document)["record"]


@asynccontextmanager
async def working(*workers: Worker) -> AsyncIterator[None]:
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            await worker.stop()


async def die(worker: Worker, wire: Wire) -> None:
    """End a worker as SIGKILL does: nothing of it reaches the store any more."""
    wire.cut()
    await worker.stop()


def freeze_heart(worker: Worker) -> Callable[[], None]:
    """Stop a worker's heart between two beats, as when its process is paused; returns what lets it go on."""
    heart = worker._heart
    assert isinstance(heart, Heart)
    resume = threading.Event()
    heart._loop.call_soon_threadsafe(resume.wait)
    return resume.set
