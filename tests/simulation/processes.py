"""The processes of a simulation: runners and ingresses made of the product's own code, on wires and strands."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.settings import Settings
from deployments.engines.common.errors import EngineBroken, EngineBusy
from deployments.engines.families import GENERATOR, ServedModel
from deployments.engines.music import catalog as registry
from deployments.engines.music.protocol import (
    EngineInfo,
    GenerationEvent,
    GenerationMode,
    GenerationProgress,
    GenerationRequest,
    Prefilled,
    Segment,
)
from deployments.events.bus import Announcer, LocalBus
from deployments.stages.export.stage import ExportStage
from deployments.stages.generate import GenerateStage
from deployments.stages.peaks import PeaksStage
from deployments.worker.handlers.export import ExportHandler
from deployments.worker.handlers.generate import GenerateHandler
from deployments.worker.heartbeat import keep_beating
from deployments.worker.worker import Worker
from serve_app.access.quotas import Quotas
from serve_app.access.tiers import Tiers
from serve_app.chains.crops import CropService
from serve_app.chains.new_chains import NewChains
from serve_app.chains.service import ChainService
from serve_app.chains.takes import TakeService
from serve_app.exports.service import ExportService
from serve_app.jobs.admission import Admission
from serve_app.jobs.service import JobService
from serve_app.system.models import ServedGenerators
from storage.domain.jobs import Job, JobKind
from storage.gc.collector import Collector
from storage.gc.rules import Retention
from storage.repositories.blobs import Blobs
from storage.repositories.chains import Chains
from storage.repositories.exports import Exports
from storage.repositories.jobs import JobKey, Jobs
from storage.repositories.peaks import Peaks
from storage.repositories.segments import Segments
from storage.stores.clock import Clock
from storage.stores.object_store import ObjectStore, StoreError
from tests.simulation.plan import Plan
from tests.simulation.virtual import Strand, VirtualLoop

MODEL = "mock"
RATE_HZ = 8_000

_INFO = EngineInfo(
    model=MODEL,
    engine="simulated",
    engine_version="1",
    weights_sha256="0" * 64,
    licence="MIT",
    sample_rate_hz=RATE_HZ,
    channels=1,
    max_context_s=30.0,
    max_duration_s=30.0,
    modes=tuple(GenerationMode),
    device="cpu",
    dtype="float32",
    reproducible=False,
)


class LuckyGenerator:
    """A `MusicGenerator` whose takes last as long as luck has it, sometimes fail, and are never twice the same."""

    def __init__(self, luck: random.Random, plan: Plan) -> None:
        self._luck = luck
        self._plan = plan

    async def info(self) -> EngineInfo:
        return _INFO

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        takes_s = self._luck.uniform(0.1, self._plan.longest_take_s)
        for step in range(3):
            yield GenerationProgress(step / 3)
            await asyncio.sleep(takes_s / 3)
        if self._luck.random() < self._plan.engine_error_chance:
            raise self._luck.choice((EngineBroken("out of memory"), EngineBusy("the queue is full")))
        level = self._luck.uniform(0.1, 0.9)
        yield Prefilled(np.zeros((1, 0), np.float32))
        yield Segment(np.full((1, round(request.duration_s * RATE_HZ)), level, np.float32))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every process is given: a wire of its own, and what all share."""

    loop: VirtualLoop
    luck: random.Random
    plan: Plan
    settings: Settings
    clock: Clock
    connect: Callable[[Process], ObjectStore]
    record: Callable[[str, str], None]


class Process:
    """Two strands, the event loop's and the heart's, that the system may stall or kill. It is started again."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name = name
        self.around = around
        self._lives = 0
        self.boot()

    def boot(self) -> None:
        self._lives += 1
        self.is_alive = True
        self.main = self.around.loop.strand(f"{self.name}.{self._lives}")
        self.heart = self.around.loop.strand(f"{self.name}.{self._lives} heart")
        self.start(self.around.connect(self))

    def start(self, store: ObjectStore) -> None:
        raise NotImplementedError

    def stall(self, duration_s: float) -> None:
        """The whole process stands still, or only its event loop, or only its heart."""
        both = (self.main, self.heart)
        for strand in self.around.luck.choices((both, both[:1], both[1:]), weights=(4, 1, 3))[0]:
            strand.stall(duration_s)

    def stall_heart(self, duration_s: float) -> None:
        self.around.record(self.name, f"its heart stands still for {duration_s:.1f} s")
        self.heart.stall(duration_s)

    def crash(self) -> None:
        if not self.is_alive:
            return
        self.is_alive = False
        self.main.die()
        self.heart.die()
        delay_s = self.around.luck.uniform(0.5, 20.0)
        self.around.record(self.name, f"dead, back in {delay_s:.1f} s")
        self.around.loop.outside.call_later(delay_s, self.boot)


class StrandHeart:
    """A `Pulse` on a strand instead of a thread."""

    def __init__(self, jobs: Jobs, strand: Strand, monotonic: Callable[[], float]) -> None:
        self._jobs = jobs
        self._strand = strand
        self._monotonic = monotonic

    @contextmanager
    def beating(self, job: Job, progress: Callable[[], float], on_lost: Callable[[], None]) -> Iterator[None]:
        beats = self._strand.spawn(keep_beating(self._jobs, job, progress, on_lost, self._monotonic))
        try:
            yield
        finally:
            beats.cancel()

    def close(self) -> None:
        """Every beat ended with its job."""


class Runner(Process):
    def start(self, store: ObjectStore) -> None:
        around = self.around
        jobs, chains, blobs = Jobs(store, around.clock), Chains(store, around.clock), Blobs(store)
        stage = GenerateStage(blobs, {MODEL: LuckyGenerator(around.luck, around.plan)})
        export = ExportStage(blobs, Exports(store), Path("ffmpeg"), 60.0, around.clock)
        self.worker = Worker(
            jobs,
            {
                JobKind.GENERATE: GenerateHandler(chains, stage, Segments(store)),
                JobKind.EXPORT: ExportHandler(export, blobs),
            },
            around.settings.jobs,
            Announcer(LocalBus()),
            monotonic=around.loop.time,
            heart=StrandHeart(jobs, self.heart, around.loop.time),
        )
        self.main.call_later(0, self.worker.start)

    def leave(self) -> None:
        """A tidy end (SIGTERM), and another in its place."""
        self.is_alive = False
        self.around.record(self.name, "leaves")
        self.main.spawn(self.worker.stop())
        self.around.loop.outside.call_later(2.0, self.boot)


class Ingress(Process):
    def __init__(self, name: str, around: Surroundings, queue: PushQueue) -> None:
        self._queue = queue
        super().__init__(name, around)

    def start(self, store: ObjectStore) -> None:
        around, settings = self.around, self.around.settings
        chains = Chains(store, around.clock)
        records = Jobs(store, around.clock)
        self.jobs = JobService(records, chains, self._queue)
        tiers = Tiers(settings.access.tiers, settings.jobs.max_active_per_tenant)
        quotas = Quotas(records.accounts, tiers, around.clock)
        admission = Admission(records, self.jobs, self._queue, quotas, settings, around.clock)
        self.chains = ChainService(chains, self.jobs)
        self.crops = CropService(
            chains, Blobs(store), PeaksStage(Blobs(store), Peaks(store)), settings.jobs, around.clock
        )
        self.takes = TakeService(
            chains,
            NewChains(chains, settings.jobs, around.clock),
            self.crops,
            admission,
            ServedGenerators([ServedModel(GENERATOR, registry.find(MODEL), "Generator")]),
            around.clock,
        )
        self.exports = ExportService(
            chains, Blobs(store), Exports(store), self.jobs, admission, settings.export, around.clock
        )


class Sweeper(Process):
    """The collector, run again and again, with a grace that every stall outlasts."""

    GRACE_S = 15.0

    def start(self, store: ObjectStore) -> None:
        retention = Retention(self.GRACE_S, exports_s=4 * self.GRACE_S, tombstones_s=None)
        self.main.spawn(self._collect_again_and_again(Collector(store, retention)))

    async def _collect_again_and_again(self, collector: Collector) -> None:
        while True:
            await asyncio.sleep(self.around.luck.uniform(3.0, 20.0))
            try:
                gone = await collector.collect(await collector.plan())
            except StoreError as error:
                self.around.record(self.name, repr(error))
            else:
                for doomed in gone:
                    self.around.record(self.name, f"collected {doomed.key}: {doomed.reason}")


class PushQueue:
    """A `JobQueue` over a network that loses and doubles what it carries, and takes its time."""

    def __init__(self, network: Strand, luck: random.Random, calm: bool) -> None:
        self._network = network
        self._luck = luck
        self._calm = calm
        self.runners: list[Runner] = []

    def submit(self, key: JobKey) -> None:
        self._send(lambda runner: runner.worker.submit(key))

    def look_at(self, key: JobKey) -> None:
        self._send(lambda runner: runner.worker.look_at(key))

    def _send(self, deliver: Callable[[Runner], None]) -> None:
        copies = 1 if self._calm else self._luck.choices((0, 1, 2), weights=(1, 3, 2))[0]
        for _ in range(copies):
            self._network.call_later(self._luck.uniform(0.0, 0.5), self._arrive, deliver)

    def _arrive(self, deliver: Callable[[Runner], None]) -> None:
        runner = self._luck.choice(self.runners)
        if runner.is_alive:
            runner.main.call_later(0, deliver, runner)


async def copy_instead_of_encoding(arguments: Sequence[str], *, ffmpeg: Path, timeout_s: float) -> None:
    """Stands in for `run_ffmpeg`: the rendered line itself is the file."""
    await asyncio.sleep(random.uniform(0.1, 8.0))
    source, target = arguments[arguments.index("-i") + 1], arguments[-1]
    shutil.copyfile(source.removeprefix("file:"), target.removeprefix("file:"))
