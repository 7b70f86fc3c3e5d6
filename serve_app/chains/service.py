"""What a musician does with a chain that is there: read, list, commit, discard, undo both, rename, delete."""

from __future__ import annotations

from datetime import datetime

from serve_app.jobs.service import JobService
from storage.domain import decisions, edits, history
from storage.domain.decisions import Marks
from storage.domain.ids import derived_id
from storage.domain.model import Chain, Decision, Node, NodeStatus
from storage.domain.outcomes import CHAIN_GONE, cancelled_jobs, unfinished_jobs
from storage.domain.ranking import takes_beside
from storage.domain.tree import subtree
from storage.repositories.chains import ChainPage, Chains
from storage.stores.document import DocumentCorrupt


class ChainService:
    def __init__(self, chains: Chains, jobs: JobService) -> None:
        self._chains = chains
        self._jobs = jobs

    async def read(self, tenant: str, chain_id: str) -> Chain:
        """Raises ChainNotFound."""
        return await self._chains.load(tenant, chain_id)

    async def page(self, tenant: str, cursor: str | None, limit: int) -> ChainPage:
        return await self._chains.page(tenant, cursor=cursor, limit=limit)

    async def commit(self, tenant: str, chain_id: str, node_id: str) -> Chain:
        """Raises Refused, ChainNotFound, NodeNotFound."""
        return await self._chains.change(
            tenant, chain_id, lambda chain, now: decisions.commit(chain, node_id, now)
        )

    async def discard(self, tenant: str, chain_id: str, node_id: str) -> Chain:
        """Raises Refused, ChainNotFound, NodeNotFound."""
        chain = await self._chains.change(
            tenant, chain_id, lambda chain, now: decisions.discard(chain, node_id, now)
        )
        for node in subtree(chain, node_id):
            for job_id, outcome in cancelled_jobs(chain, node):
                await self._jobs.signal_cancel(tenant, job_id, outcome)
        return chain

    async def cancel_others(self, tenant: str, chain_id: str, node_id: str) -> Chain:
        """Raises ChainNotFound, NodeNotFound."""
        chain = await self._chains.change(
            tenant, chain_id, lambda chain, now: edits.cancel_others(chain, node_id, now)
        )
        for node in takes_beside(chain, node_id):
            for job_id, outcome in cancelled_jobs(chain, node):
                await self._jobs.signal_cancel(tenant, job_id, outcome)
        return chain

    async def uncommit(self, tenant: str, chain_id: str, node_id: str) -> Chain:
        """Raises Refused, ChainNotFound, NodeNotFound."""
        return await self._chains.change(
            tenant, chain_id, lambda chain, now: decisions.uncommit(chain, node_id, now)
        )

    async def restore(self, tenant: str, chain_id: str, node_id: str) -> Chain:
        """Raises ChainNotFound, NodeNotFound."""
        return await self._chains.change(
            tenant, chain_id, lambda chain, now: decisions.restore(chain, node_id, now)
        )

    async def undo(
        self, tenant: str, chain_id: str, *, back: bool, key: str | None, at: datetime | None = None
    ) -> tuple[Chain, tuple[Node, ...]]:
        """Take the last decision back, or (`back` False) do again what was undone last; with it the nodes that came
        back and whose work was cancelled: it does not run on. The same key again is no change.

        Raises Refused, ChainNotFound.
        """
        step = history.undo if back else history.redo
        request = None if key is None else derived_id("undo" if back else "redo", chain_id, key)
        before: list[Chain] = []

        def change(chain: Chain, now: datetime) -> Chain:
            before[:] = [chain]
            return step(chain, now, request=request, at=at)

        chain = await self._chains.change(tenant, chain_id, change)
        was_lost = {node.id for node in before[0].nodes if node.decision is Decision.DISCARDED}
        return chain, tuple(
            node
            for node in chain.nodes
            if node.id in was_lost
            and node.decision is not Decision.DISCARDED
            and node.status is NodeStatus.CANCELLED
        )

    async def mark(self, tenant: str, chain_id: str, node_id: str, marks: Marks) -> Chain:
        """Raises ChainNotFound, NodeNotFound."""
        return await self._chains.change(
            tenant, chain_id, lambda chain, now: decisions.mark(chain, node_id, marks, now)
        )

    async def rename(self, tenant: str, chain_id: str, title: str) -> Chain:
        """Raises ChainNotFound."""
        return await self._chains.change(
            tenant, chain_id, lambda chain, now: decisions.rename(chain, title, now)
        )

    async def delete(self, tenant: str, chain_id: str) -> None:
        """Raises ChainNotFound, the second time too."""
        try:
            chain = await self._chains.load(tenant, chain_id)
        except DocumentCorrupt:
            # Which jobs work on it is not known; each finds the tombstone and ends.
            chain = await self._chains.delete_damaged(tenant, chain_id)
            if chain.deleted_at is not None:
                return
        await self._chains.delete(tenant, chain_id)
        for node in chain.nodes:
            for job_id in unfinished_jobs(node):
                await self._jobs.signal_cancel(tenant, job_id, CHAIN_GONE)
