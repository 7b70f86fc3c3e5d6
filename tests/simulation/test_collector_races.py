"""The collector among writers that may stand still for days between any two operations, and so may it.

At no moment does a document name a blob that is not there, and no unfinished job is without its marker.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import paths
from storage.domain import edits
from storage.domain.jobs import JobState, claim, finish, sign_of
from storage.domain.model import BlobRef, DomainError, NodeAudio
from storage.gc.collector import Collector
from storage.gc.inventory import names_of
from storage.gc.rules import Reason
from storage.repositories.blobs import Blobs
from storage.repositories.chains import CODEC as CHAINS
from storage.repositories.chains import Chains
from storage.repositories.exports import CODEC as EXPORTS
from storage.repositories.exports import Barrier, Export, Exports
from storage.repositories.jobs import CODEC as JOBS
from storage.repositories.jobs import Jobs
from storage.stores.object_store import ObjectStore
from tests.simulation.store import Fault, Mishap, Owner, Truth, Wire, Write
from tests.simulation.virtual import Strand, VirtualLoop
from tests.simulation.world import lawful_chance
from tests.storage.domain.builders import PROVENANCE, pending, queued_job, uploaded_root

HOUR_S = 3600.0
TENANT = "t"
PLAN = "ab" * 32
CHAINS_MADE, TAKES = 3, 3


@dataclass
class Actor:
    """One process with one thing to do. Before or after any operation it may stand still for up to `longest_s`."""

    name: str
    strand: Strand
    longest_s: float
    stall_chance: float
    crash_chance: float
    work: Callable[[ObjectStore], Awaitable[None]]

    def stall(self, duration_s: float) -> None:
        self.strand.stall(duration_s)

    def crash(self) -> None:
        self.strand.die()


class Drowsiness:
    """Implements `Fates`."""

    def __init__(self, luck: random.Random) -> None:
        self._luck = luck

    def next(self, owner: Owner, operation: str, key: str) -> Mishap:
        assert isinstance(owner, Actor)
        dice = self._luck.random()
        fault = Fault.NONE
        if dice < owner.crash_chance:
            fault = Fault.CRASH_AFTER
        elif dice < owner.crash_chance + owner.stall_chance:
            fault = self._luck.choice((Fault.STALL_BEFORE, Fault.STALL_AFTER))
        return Mishap(fault, self._luck.uniform(0.0, owner.longest_s))


class Studio:
    """What writers do, in the order of writes of FORMAT.md."""

    def __init__(self, luck: random.Random, truth: Truth) -> None:
        self._luck = luck
        self._truth = truth

    async def upload(self, store: ObjectStore, chain_id: str) -> None:
        audio = _audio(await Blobs(store).put(TENANT, f"upload-{chain_id}", b"clip"))
        root = replace(uploaded_root(), audio=audio)
        now = self._truth.clock()
        chain = edits.new_chain(chain_id=chain_id, tenant=TENANT, title="", root=root, now=now)
        await Chains(store, self._truth.clock).create(chain)

    async def take(self, store: ObjectStore, chain_id: str, name: str) -> None:
        """Accept a job, or find it; claim it from whoever holds it; publish, if this claim still may."""
        jobs, chains = Jobs(store, self._truth.clock), Chains(store, self._truth.clock)
        params = {"chain_id": chain_id, "node_id": name}
        job, _ = await jobs.create(replace(queued_job(name), params=params, created_at=self._truth.clock()))
        job = await jobs.change(
            TENANT,
            name,
            lambda job, now: claim(job, lease_s=1, max_attempts=None, stale=sign_of(job), now=now),
        )
        node = replace(pending(name, "root"), job_id=name)
        await chains.change(TENANT, chain_id, lambda chain, now: edits.add_nodes(chain, [node], now))
        await chains.change(TENANT, chain_id, lambda chain, now: edits.start(chain, name, job.fence, now))
        sound = self._luck.randbytes(4)
        audio = _audio(await Blobs(store).put(TENANT, f"{name}-{job.fence}", sound))
        chain = await chains.change(
            TENANT,
            chain_id,
            lambda chain, now: edits.publish(chain, name, job.fence, audio, PROVENANCE, now),
        )
        if chain.node(name).status.is_finished:
            await jobs.change(TENANT, name, lambda job, now: finish(job, JobState.SUCCEEDED, now))

    async def delete(self, store: ObjectStore, chain_id: str) -> None:
        await Chains(store, self._truth.clock).delete(TENANT, chain_id)

    async def export(self, store: ObjectStore) -> None:
        """Make a file, or find the record of one."""

        async def write(owner: str) -> Export:
            blob = await Blobs(store).put(TENANT, owner, b"file")
            return Export(PLAN, TENANT, self._truth.clock(), blob, "audio/wav", "song.wav", 8, 8)

        await Exports(store).publish(TENANT, PLAN, write)

    async def collect(self, store: ObjectStore) -> None:
        collector = Collector(store)
        while True:
            await asyncio.sleep(self._luck.uniform(1.0, 12.0) * HOUR_S)
            await collector.collect(await collector.plan())


def _audio(blob: BlobRef) -> NodeAudio:
    return NodeAudio(blob=blob, samples=8, sample_rate_hz=8, channels=1, rms_dbfs=0.0, peak_dbfs=0.0)


def _play(seed: int) -> Truth:
    with lawful_chance(seed):
        return _play_by(random.Random(seed))


def _play_by(luck: random.Random) -> Truth:
    loop = VirtualLoop(luck)
    truth = Truth(loop)
    studio = Studio(luck, truth)
    fates = Drowsiness(luck)

    def cast(
        name: str,
        work: Callable[[ObjectStore], Awaitable[None]],
        longest_h: float = 80.0,
        stalls: float = 0.2,
        dies: float = 0.03,
    ) -> None:
        actor = Actor(name, loop.strand(name), longest_h * HOUR_S, stalls, dies, work)
        begins_s = luck.uniform(0.0, 40.0) * HOUR_S
        wire = Wire(truth, loop, luck, fates, actor)
        loop.outside.call_later(begins_s, lambda: actor.strand.spawn(_live(actor, wire)))

    for number in range(CHAINS_MADE):
        chain_id = f"c{number}"
        for again in range(2):
            cast(f"upload {chain_id} {again}", partial(studio.upload, chain_id=chain_id))
        for name in (f"{chain_id}n{take}" for take in range(TAKES)):
            for again in range(2):
                cast(f"take {name} {again}", partial(studio.take, chain_id=chain_id, name=name))
    cast("delete", partial(studio.delete, chain_id="c0"))
    for again in range(3):
        cast(f"export {again}", studio.export, stalls=0.4)
    for again in range(2):
        cast(f"collector {again}", studio.collect, stalls=0.02, dies=0.0)
    loop.set_exception_handler(lambda loop, context: None)
    try:
        loop.run_until_complete(asyncio.wait_for(asyncio.Event().wait(), 20 * 24 * HOUR_S))
    except TimeoutError:
        loop.run_until_complete(_tidy(loop))
    finally:
        loop.close()
    return truth


async def _live(actor: Actor, store: ObjectStore) -> None:
    with suppress(DomainError):
        await actor.work(store)


async def _tidy(loop: VirtualLoop) -> None:
    for strand in loop.strands:
        strand.revive()
    while left := [task for task in loop.tasks if not task.done() and task is not asyncio.current_task()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=1.0)
    await loop.shutdown_asyncgens()


def _dangling(history: list[Write]) -> list[str]:
    """Every moment at which a document named what was not there."""
    objects: dict[str, bytes] = {}
    named: dict[str, frozenset[str]] = {}
    guarded: dict[str, str] = {}
    wrong: list[str] = []
    for write in history:
        if write.data is None:
            objects.pop(write.key, None)
            named.pop(write.key, None)
        else:
            objects[write.key] = write.data
            if "/chains/" in write.key and write.key.endswith(".json"):
                chain = CHAINS.decode(json.loads(write.data)["record"])
                named[write.key] = names_of(node.audio for node in chain.nodes)
            elif "/exports/" in write.key:
                export = EXPORTS.decode(json.loads(write.data)["record"])
                blobs = export.blobs if isinstance(export, Export) else ()
                named[write.key] = frozenset(blob.name for blob in blobs)
            elif "/jobs/" in write.key and write.key.endswith(".json"):
                job = JOBS.decode(json.loads(write.data)["record"])
                guarded.pop(write.key, None)
                if not job.state.is_finished:
                    guarded[write.key] = paths.active(TENANT, job.id)
        at = f"{write.at_s / HOUR_S:.2f} h, {'put' if write.data is not None else 'delete'} {write.key}"
        wrong += [
            f"{at}: {key} names {name}, which is gone"
            for key, names in named.items()
            for name in names
            if paths.blob(TENANT, name) not in objects
        ]
        wrong += [f"{at}: {key} has no marker" for key, marker in guarded.items() if marker not in objects]
    return wrong


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_nothing_that_a_document_names_is_ever_deleted(seed: int) -> None:
    assert _dangling(_play(seed).history) == []


def test_the_races_are_run() -> None:
    """Between them these seeds collect takes, uploads and markers, and meet a writer that comes too late."""
    gone: set[str] = set()
    barred = 0
    for seed in range(12):
        for write in _play(seed).history:
            kind = write.key.split("/")[2]
            if write.data is None and kind != "probes":
                gone.add(kind + ("" if kind != "blobs" else write.key.split("/")[3][0]))
            barred += b'"code":"abandoned"' in (write.data or b"") or b'"root_id":""' in (write.data or b"")
    assert {"active", "blobsu", "blobsc", "blobse"} <= gone
    assert barred >= 3


@pytest.mark.parametrize(
    "careless", ["no tombstone first", "no failed job first", "no barrier first", "blind to markers"]
)
def test_a_careless_collector_is_caught(careless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if careless == "blind to markers":
        monkeypatch.setattr("storage.gc.inventory.Holdings.unfinished", property(lambda self: {}))
        monkeypatch.setattr("storage.gc.rules._made_under_a_claim", lambda *args: Reason.UNPUBLISHED)
    elif careless == "no barrier first":

        async def leave_alone(self: Exports, barrier: Barrier, blob_name: str) -> bool:
            return True

        monkeypatch.setattr(Exports, "bar", leave_alone)
    else:
        wanted = "_bar_chain" if careless == "no tombstone first" else "_bar_job"

        async def let_pass(self: Collector, tenant: str, record_id: str, at: object) -> object:
            if wanted == "_bar_job":
                return replace(queued_job(record_id), state=JobState.FAILED), True
            return replace(
                edits.new_chain(
                    chain_id=record_id,
                    tenant=tenant,
                    title="",
                    root=uploaded_root(),
                    now=at,  # type: ignore[arg-type]
                ),
                nodes=(),
            ), True

        monkeypatch.setattr(Collector, wanted, let_pass)
    assert any(_dangling(_play(seed).history) for seed in range(60))
