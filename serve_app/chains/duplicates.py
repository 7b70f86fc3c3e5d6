"""Duplicates of chains: documents that name the blobs of another one."""

from __future__ import annotations

from serve_app.chains.new_chains import NewChains
from serve_app.jobs.idempotency import request_hash
from storage.domain.duplicates import duplicate
from storage.domain.model import Chain, ChainNotFound
from storage.repositories.chains import Chains
from storage.stores.clock import Clock, utc_now


class DuplicateService:
    def __init__(self, chains: Chains, new_chains: NewChains, clock: Clock = utc_now) -> None:
        self._chains = chains
        self._new_chains = new_chains
        self._clock = clock

    async def duplicate(
        self, tenant: str, chain_id: str, node_id: str | None, title: str | None, key: str | None
    ) -> Chain:
        """A new chain with what is ready of another, or of the path to a node of it and all below that.

        The collector keeps a blob that any chain names. It has to see the new chain before it sees the other's
        deletion, so the other is read once more when the new one is durable: if it is gone, so is the new one.

        Raises ChainNotFound, NodeNotFound, Refused, IdempotencyMismatch, Conflict.
        """
        request_sha256 = request_hash({"duplicate": chain_id, "node": node_id, "title": title})
        new_id, earlier = await self._new_chains.name(tenant, key, request_sha256)
        if earlier is not None:
            return earlier
        chain = await self._chains.load(tenant, chain_id)
        made, _ = await self._chains.create(
            duplicate(
                chain,
                node_id,
                chain_id=new_id,
                title=chain.title if title is None else title,
                request_sha256=request_sha256,
                now=self._clock(),
            )
        )
        try:
            await self._chains.load(tenant, chain_id)
        except ChainNotFound:
            await self._chains.delete(tenant, new_id)
            raise
        return made
