"""One schedule from one seed: a small cluster, its users, its misfortunes, and what the store holds at the end."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np

from configs.environment import load_settings
from configs.settings import Settings
from deployments.audio.wav import encode_wav
from deployments.stages.export import audio_file
from storage import paths
from storage.domain import edits
from storage.domain.model import Node, NodeAudio, NodeStatus, Origin
from storage.repositories.blobs import Blobs
from storage.repositories.chains import Chains
from tests.simulation.clients import TENANT, Client, Promises
from tests.simulation.plan import CHAOS_S, Plan, PlannedFates, Weather, draw_plan
from tests.simulation.processes import (
    RATE_HZ,
    Ingress,
    Process,
    PushQueue,
    Runner,
    Surroundings,
    Sweeper,
    copy_instead_of_encoding,
)
from tests.simulation.store import Truth, Wire
from tests.simulation.virtual import VirtualLoop, current_strand
from tests.support.invariants import Write

CHAIN = "c"
LONGEST_S = 900.0
"""By then every schedule has come to rest, or something is stuck."""

_LOOK_S = 2.5
_LOGS = ("segue.jobs", "asyncio")


def job_settings() -> Settings:
    return load_settings({"jobs": {"watch_s": 2.0, "concurrent": 2}}, environ={})


@dataclass
class Story:
    """What happened: the store's every version, what clients were told, and a log for people."""

    seed: int
    plan: Plan
    settings: Settings
    history: list[Write] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    promises: Promises = field(default_factory=Promises)
    lines: list[str] = field(default_factory=list)
    mishaps: int = 0
    at_rest: bool = False
    ended_s: float = 0.0

    def tell(self) -> str:
        """The schedule as text, in the order in which it happened."""
        head = f"seed {self.seed}: {self.plan}; {self.mishaps} mishaps; ended at {self.ended_s:.1f} s"
        return "\n".join((head, *self.lines))


class World:
    def __init__(self, seed: int, loop: VirtualLoop, luck: random.Random) -> None:
        self._loop = loop
        self._luck = luck
        self.story = Story(seed, draw_plan(luck), job_settings())
        self._truth = Truth(loop)
        self._fates = PlannedFates(self.story.plan, luck, loop.time, self.record)
        around = Surroundings(
            loop, luck, self.story.plan, self.story.settings, self._truth.clock, self._connect, self.record
        )
        calm = self.story.plan.weather is Weather.CALM
        queue = PushQueue(loop.strand("network"), luck, calm)
        self._runners = [Runner(f"runner-{n}", around) for n in range(self.story.plan.runners)]
        queue.runners = self._runners
        self._ingresses = [Ingress(f"ingress-{n}", around, queue) for n in range(self.story.plan.ingresses)]

        if self.story.plan.collects:
            Sweeper("collector", around)

    def record(self, who: str, what: str) -> None:
        self.story.lines.append(f"{self._loop.time():9.3f} {who}: {what}")

    async def run(self) -> None:
        await self._upload()
        story = self.story
        clients = [
            Client(f"client-{n}", self._loop, self._luck, self._ingresses, story.promises, CHAIN)
            for n in range(story.plan.clients)
        ]
        using = [client.start(story.plan.actions) for client in clients]
        if not story.plan.weather.is_harmless:
            self._trouble_the_runners()
        while not (all(task.done() for task in using) and self._rests()):
            if self._loop.time() > LONGEST_S:
                break
            await asyncio.sleep(_LOOK_S)
        else:
            story.at_rest = True
        for task in using:
            if task.done():
                task.result()
        story.history = list(self._truth.history)
        story.objects = self._truth.objects()
        story.mishaps, story.ended_s = self._fates.mishaps, self._loop.time()

    def _trouble_the_runners(self) -> None:
        """What may befall a runner between its operations: an order to leave, a heart that stands still."""
        if self._luck.random() < 0.2:
            self._loop.call_later(self._luck.uniform(1.0, CHAOS_S), self._luck.choice(self._runners).leave)
        for runner in self._runners:
            if self._luck.random() < 0.3:
                self._loop.call_later(
                    self._luck.uniform(1.0, CHAOS_S / 2), runner.stall_heart, self._luck.uniform(15.0, 60.0)
                )

    async def end(self) -> None:
        """Let everything that was ever started clean up, unheard: nothing of it counts any more."""
        self._truth.away_until_s = math.inf
        self._loop.set_exception_handler(lambda loop, context: None)
        self._fates.rest()
        for strand in self._loop.strands:
            strand.revive()
        await asyncio.sleep(1.0)  # what was only just made begins
        while others := self._unfinished():
            for task in others:
                task.cancel()
            await asyncio.wait(others, timeout=1.0)
        await self._loop.shutdown_asyncgens()

    def _unfinished(self) -> list[asyncio.Task[Any]]:
        return [task for task in self._loop.tasks if not task.done() and task is not asyncio.current_task()]

    def _connect(self, process: Process) -> Wire:
        return Wire(self._truth, self._loop, self._luck, self._fates, process)

    def _rests(self) -> bool:
        """Nothing travels, and nobody's work is left: no marker has a record."""
        objects = self._truth.objects()
        return not self._truth.in_flight and not any(
            paths.job(TENANT, key.removeprefix(paths.active_folder(TENANT))) in objects
            for key in objects
            if key.startswith(paths.active_folder(TENANT))
        )

    async def _upload(self) -> None:
        """The chain that everybody begins with: a ready root."""
        samples = np.full((1, 400), 0.2, np.float32)
        now = self._truth.clock()
        audio = NodeAudio(
            blob=await Blobs(self._truth).put(TENANT, f"upload-{CHAIN}", encode_wav(samples, RATE_HZ)),
            samples=400,
            sample_rate_hz=RATE_HZ,
            channels=1,
            rms_dbfs=-14.0,
            peak_dbfs=-14.0,
        )
        root = Node(
            id="root",
            parent_id=None,
            origin=Origin.UPLOAD,
            created_at=now,
            status=NodeStatus.READY,
            duration_s=audio.duration_s,
            audio=audio,
        )
        chain = edits.new_chain(chain_id=CHAIN, tenant=TENANT, title="", root=root, now=now)
        await Chains(self._truth, self._truth.clock).create(chain)


def play(seed: int) -> Story:
    """One schedule, the same one for the same seed."""
    luck = random.Random(seed)
    loop = VirtualLoop(luck)
    with ExitStack() as stack:
        stack.enter_context(lawful_chance(seed))
        world = World(seed, loop, luck)
        stack.enter_context(_logs_to(world))
        try:
            loop.run_until_complete(world.run())
        finally:
            loop.run_until_complete(world.end())
            loop.close()
    return world.story


@contextmanager
def lawful_chance(seed: int) -> Iterator[None]:
    """The product's own dice, thrown by the seed; and no ffmpeg."""
    dice, before = random.Random(~seed), random.getstate()
    random.seed(seed)
    try:
        with (
            patch.object(secrets, "token_hex", lambda size=32: dice.randbytes(size).hex()),
            patch.object(secrets, "randbelow", dice.randrange),
            patch.object(audio_file, "run_ffmpeg", copy_instead_of_encoding),
        ):
            yield
    finally:
        random.setstate(before)


class _StoryHandler(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.record(current_strand().name, record.getMessage())


@contextmanager
def _logs_to(world: World) -> Iterator[None]:
    """The product's log becomes part of the story, and is heard nowhere else."""
    handler = _StoryHandler(world)
    with ExitStack() as stack:
        for name in _LOGS:
            logger: Any = logging.getLogger(name)
            stack.enter_context(patch.multiple(logger, handlers=[handler], propagate=False))
        yield
