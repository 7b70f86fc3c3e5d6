"""Analyses of nodes: asked for, begun by themselves for uploads, read."""

from __future__ import annotations

import json
import logging
from typing import Any

from configs.settings import AnalysisSettings
from deployments.engines.analysis.catalog import AnalyserEntry
from deployments.specs.derive import AnalysisSpec
from serve_app.http.problems import NotFound, Problem
from serve_app.jobs.admission import Admission
from serve_app.jobs.derivations import Derivations
from storage.domain.derivations import newest_ready
from storage.domain.jobs import Job
from storage.domain.model import Chain, Derived, DerivedKind, DomainError
from storage.repositories.blobs import Blobs
from storage.repositories.chains import Chains
from storage.stores.object_store import StoreError

logger = logging.getLogger("segue.analysis")


class AnalysisService:
    """`entry` None: no analyser is served."""

    def __init__(
        self,
        chains: Chains,
        admission: Admission,
        blobs: Blobs,
        entry: AnalyserEntry | None,
        settings: AnalysisSettings,
    ) -> None:
        self._chains = chains
        self._blobs = blobs
        self.entry = entry
        self._is_automatic = settings.automatic and entry is not None
        self._derivations = Derivations(chains, admission)

    async def start(self, tenant: str, chain_id: str, node_id: str, melody: bool, key: str | None) -> Job:
        """A job that analyses the node, or that did it before. Raises as `Derivations.start`, and NotFound where
        no analyser is served."""
        if self.entry is None:
            raise NotFound("no analyser is served here", code="no-analyser")
        return await self._derivations.start(tenant, AnalysisSpec(chain_id, node_id, melody), key)

    async def welcome(self, chain: Chain) -> Chain:
        """Begin the analysis of a new chain's root, if that is done here; the chain as it is then. An upload does
        not fail for want of it."""
        if not self._is_automatic:
            return chain
        try:
            await self.start(chain.tenant, chain.id, chain.root_id, False, None)
            return await self._chains.load(chain.tenant, chain.id)
        except (Problem, DomainError, StoreError) as error:
            logger.warning("chain %s: its upload is not analysed: %r", chain.id, error)
            return chain

    async def read(
        self, tenant: str, chain_id: str, node_id: str
    ) -> tuple[tuple[Derived, ...], dict[str, Any] | None]:
        """All analyses of a node, the oldest first, and what the newest that is ready says.

        Raises ChainNotFound, NodeNotFound, StoreError.
        """
        _, made = await self._derivations.read(tenant, chain_id, node_id, DerivedKind.ANALYSIS)
        ready = newest_ready(made)
        if ready is None or ready.document is None:
            return made, None
        document: dict[str, Any] = json.loads(await self._blobs.get(tenant, ready.document))
        return made, document
