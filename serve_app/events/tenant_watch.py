"""One watch over a tenant for all its clients of this process, however many they are.

Notices make it quick; looking at the store makes it right. A look lists the stamps of the tenant's chains and
the markers of its unfinished jobs, and reads only what is new since the last one. Without clients a watch rests;
the next look then starts from what was known.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from configs.settings import EventSettings
from deployments.events.bus import ChainChanged, JobChanged, JobForeseen, JobProgressed
from serve_app.events.frames import chain_summary
from serve_app.events.latest import LatestChains
from serve_app.events.listener import EVERYTHING, Heard, Listener
from serve_app.events.tenant_state import TenantState
from serve_app.jobs.service import JobService
from storage.domain.jobs import Job, JobKind, JobNotFound, JobState
from storage.domain.model import Chain, ChainNotFound, DomainError, NodeStatus
from storage.domain.outcomes import seen_through_chain, unfinished_jobs
from storage.repositories.chains import Chains
from storage.repositories.jobs import Jobs
from storage.stores.document import DocumentCorrupt
from storage.stores.object_store import StoreError

logger = logging.getLogger("segue.events")

KEPT_WATCHES = 64
KEPT_PROGRESS = 2048
CONCURRENT_READS = 16
REST_SHARE = 2.0
"""A watch rests for at least so many times as long as a look took, however many chains there are."""


class TenantWatch:
    """`state` is what is known of the tenant; `reports` counts the reports of progress so far."""

    def __init__(
        self,
        tenant: str,
        chains: Chains,
        records: Jobs,
        jobs: JobService,
        latest: LatestChains,
        listener: Listener,
        settings: EventSettings,
    ) -> None:
        self.tenant = tenant
        self.state = TenantState()
        self.damaged: set[str] = set()
        self.clients = 0
        self._chains = chains
        self._records = records
        self._jobs = jobs
        self._latest = latest
        self._listener = listener
        self._settings = settings
        self._stamps: dict[str, str] = {}
        self._progress: OrderedDict[str, tuple[int, JobProgressed | JobForeseen]] = OrderedDict()
        self.reports = 0
        self._lock = asyncio.Lock()  # what is read is put before anything else is read
        self._looked_at_s = float("-inf")
        self._changed = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._following is None:
            self._following = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def fresh(self) -> None:
        """Know what was in the store when this was called. Raises StoreError."""
        asked_at_s = time.monotonic()
        async with self._lock:
            if self._looked_at_s < asked_at_s:
                await self._look()

    async def changed(self, timeout_s: float) -> None:
        """Wait for the next change or progress, but no longer than this."""
        changed = self._changed
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            return

    def progress_since(self, reports: int) -> list[JobProgressed | JobForeseen]:
        """The latest report of each job that had one after the first `reports`."""
        return [notice for number, notice in self._progress.values() if number > reports]

    async def _follow(self) -> None:
        due_s = time.monotonic() + self._settings.poll_s
        with self._listener.subscribe(self.tenant, EVERYTHING) as subscription:
            while True:
                notice = await subscription.next(max(0.0, due_s - time.monotonic()))
                began_s = time.monotonic()
                try:
                    async with self._lock:
                        await (self._look() if notice is None or began_s >= due_s else self._handle(notice))
                except (StoreError, DomainError) as error:
                    logger.info("tenant %s: a look is missing: %r", self.tenant, error)
                except Exception:  # whatever it is, the next look may be better
                    logger.exception("tenant %s: unexpected error", self.tenant)
                if notice is None or began_s >= due_s:
                    took_s = time.monotonic() - began_s
                    due_s = time.monotonic() + max(self._settings.poll_s, took_s * REST_SHARE)

    async def _handle(self, notice: Heard) -> None:
        match notice:
            case ChainChanged(chain_id=chain_id, version=version):
                if version > self.state.version_of(chain_id):
                    try:
                        await self._take(await self._latest.get(self.tenant, chain_id, version=version))
                    except ChainNotFound:
                        return
                    except DocumentCorrupt:
                        self._mark_damaged(chain_id)
            case JobProgressed(job_id=job_id, fence=fence):
                self._remember(notice)
                known = self.state.jobs.get(job_id)
                if known is None or known.state is JobState.QUEUED or known.fence < fence:
                    await self._read_jobs([job_id])
            case JobChanged(job_id=job_id):
                await self._read_jobs([job_id])
            case JobForeseen(job_id=job_id) if not self.state.has_ended(job_id):
                self._remember(notice)
                if job_id not in self.state.jobs:
                    await self._read_jobs([job_id])

    def _remember(self, notice: JobProgressed | JobForeseen) -> None:
        self.reports += 1
        self._progress[notice.job_id] = (self.reports, notice)
        self._progress.move_to_end(notice.job_id)
        while len(self._progress) > KEPT_PROGRESS:
            self._progress.popitem(last=False)
        self._wake_clients()

    async def _look(self) -> None:
        began_s = time.monotonic()
        stamps = await self._chains.stamps(self.tenant)
        active = {key.job_id for key in await self._records.active_of(self.tenant)}
        for chain_id in self._stamps.keys() - stamps.keys():
            del self._stamps[chain_id]
            self.damaged.discard(chain_id)
            self.state.drop_chain(chain_id)
            self._wake_clients()
        gate = asyncio.Semaphore(CONCURRENT_READS)

        async def read(chain_id: str) -> None:
            async with gate:
                try:
                    chain = await self._chains.find(self.tenant, chain_id)
                except DocumentCorrupt:
                    self._mark_damaged(chain_id)
                else:
                    if chain is not None:
                        await self._take(chain)
            self._stamps[chain_id] = stamps[chain_id]

        changed = [chain_id for chain_id, stamp in stamps.items() if self._stamps.get(chain_id) != stamp]
        failures = await asyncio.gather(*(read(chain_id) for chain_id in changed), return_exceptions=True)
        for failure in failures:
            if failure is not None:
                raise failure
        known = self.state.jobs
        kept_in_records = {job.id for job in known.values() if not job.kind.publishes_in_a_chain}
        await self._read_jobs((active ^ known.keys()) | kept_in_records)
        self._looked_at_s = began_s

    async def _take(self, chain: Chain) -> None:
        """Take over a chain as it was read, and the outcomes of jobs in it."""
        self.damaged.discard(chain.id)
        if chain.deleted_at is not None:
            self.state.drop_chain(chain.id, chain.version)
        else:
            self.state.put_chain(chain_summary(chain))
        known = self.state.jobs
        unread = [job_id for node in chain.nodes for job_id in unfinished_jobs(node) if job_id not in known]
        for job in known.values():
            if job.chain_id == chain.id:
                self.state.put_job(seen_through_chain(chain, job))
                if job.state is JobState.QUEUED and _has_begun(chain, job):
                    unread.append(job.id)
        self._wake_clients()
        await self._read_jobs(unread)

    async def _read_jobs(self, job_ids: Iterable[str]) -> None:
        async def read(job_id: str) -> None:
            try:
                self.state.put_job(await self._jobs.read(self.tenant, job_id))
            except (JobNotFound, DocumentCorrupt) as error:  # not written yet, or damaged
                logger.debug("job %s is not followed: %r", job_id, error)

        wanted = [job_id for job_id in job_ids if not self.state.has_ended(job_id)]
        for start in range(0, len(wanted), CONCURRENT_READS):
            await asyncio.gather(*(read(job_id) for job_id in wanted[start : start + CONCURRENT_READS]))
        if wanted:
            self._wake_clients()

    def _mark_damaged(self, chain_id: str) -> None:
        self.damaged.add(chain_id)
        self.state.drop_chain(chain_id)
        self._wake_clients()

    def _wake_clients(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class TenantWatches:
    """The watches of this process; beyond `KEPT_WATCHES`, those without clients are dropped."""

    def __init__(
        self,
        chains: Chains,
        records: Jobs,
        jobs: JobService,
        latest: LatestChains,
        listener: Listener,
        settings: EventSettings,
    ) -> None:
        self._parts = (chains, records, jobs, latest, listener, settings)
        self._watches: OrderedDict[str, TenantWatch] = OrderedDict()

    @asynccontextmanager
    async def following(self, tenant: str) -> AsyncIterator[TenantWatch]:
        """The tenant's watch, which follows the store as long as this context lasts for any client."""
        watch = self._watches.get(tenant) or TenantWatch(tenant, *self._parts)
        self._watches[tenant] = watch
        self._watches.move_to_end(tenant)
        idle = [name for name, each in self._watches.items() if not each.clients and name != tenant]
        for name in idle[: max(0, len(self._watches) - KEPT_WATCHES)]:
            del self._watches[name]
        watch.clients += 1
        watch.start()
        try:
            yield watch
        finally:
            watch.clients -= 1
            if not watch.clients:
                await watch.stop()


def _has_begun(chain: Chain, job: Job) -> bool:
    """Whether the job is running according to its chain."""
    node = chain.find(job.node_id) if job.node_id is not None else None
    if node is None:
        return False
    made = node if job.kind is JobKind.GENERATE else node.derivation(job.id)
    return made is not None and made.status is NodeStatus.RUNNING
