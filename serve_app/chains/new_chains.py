"""Which chain a request makes: the one of its Idempotency-Key, found again when the request is repeated."""

from __future__ import annotations

from datetime import timedelta

from configs.settings import JobSettings
from serve_app.http.problems import Conflict
from serve_app.jobs.idempotency import Earlier, request_id
from storage.domain.model import Chain
from storage.repositories.chains import Chains
from storage.stores.clock import Clock, utc_now


class NewChains:
    def __init__(self, chains: Chains, settings: JobSettings, clock: Clock = utc_now) -> None:
        self._chains = chains
        self._ttl = timedelta(seconds=settings.idempotency_ttl_s)
        self._clock = clock

    async def name(self, tenant: str, key: str | None, request_sha256: str) -> tuple[str, Chain | None]:
        """The chain's id, and the chain itself if an earlier request with the same key made it.

        Raises IdempotencyMismatch, and Conflict for a chain that was made and deleted since.
        """
        chain_id = await request_id(
            tenant=tenant,
            route="chains",
            key=key,
            request_sha256=request_sha256,
            find=lambda candidate: self._earlier(tenant, candidate),
            ttl=self._ttl,
            now=self._clock(),
        )
        chain = await self._chains.find(tenant, chain_id)
        if chain is not None and chain.deleted_at is not None:
            raise Conflict("the chain that this Idempotency-Key made was deleted; use a new key")
        return chain_id, chain

    async def _earlier(self, tenant: str, chain_id: str) -> Earlier | None:
        chain = await self._chains.find(tenant, chain_id)
        return Earlier(chain.request_sha256, chain.created_at) if chain is not None else None
