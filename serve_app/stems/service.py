"""Stems of nodes: asked for, found again, listened to."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.engines.separation.options import SeparationOptions
from deployments.specs.derive import StemsSpec
from serve_app.http.problems import Conflict, NotFound
from serve_app.jobs.admission import Admission
from serve_app.jobs.derivations import Derivations
from serve_app.system.separators import ServedSeparators
from storage.domain.jobs import Job
from storage.domain.model import Derived, DerivedKind, Node, Track
from storage.repositories.chains import Chains


@dataclass(frozen=True, slots=True)
class StemsRequest:
    """`model` None: the default one."""

    model: str | None
    options: SeparationOptions


class StemsService:
    def __init__(self, chains: Chains, admission: Admission, separators: ServedSeparators) -> None:
        self._separators = separators
        self._derivations = Derivations(chains, admission, stored_for_each=5)

    async def start(
        self, tenant: str, chain_id: str, node_id: str, wanted: StemsRequest, key: str | None
    ) -> Job:
        """A job that separates the node, or that did it before: the same model and options are one job.

        Raises as `Derivations.start`, and Unprocessable.
        """
        model = self._separators.choose(wanted.model, wanted.options).name
        return await self._derivations.start(tenant, StemsSpec(chain_id, node_id, model, wanted.options), key)

    async def read(self, tenant: str, chain_id: str, node_id: str) -> tuple[Node, tuple[Derived, ...]]:
        """The node and its stems, the oldest first. Raises ChainNotFound, NodeNotFound."""
        return await self._derivations.read(tenant, chain_id, node_id, DerivedKind.STEMS)

    async def stem(self, tenant: str, chain_id: str, node_id: str, name: str, job_id: str | None) -> Track:
        """The stem of that name: of that job, else the newest there is. Raises NotFound, Conflict while it is
        being made, ChainNotFound, NodeNotFound."""
        node, made = await self.read(tenant, chain_id, node_id)
        asked = [derived for derived in made if job_id is None or derived.job_id == job_id]
        for derived in reversed(asked):
            for track in derived.tracks:
                if track.name == name:
                    return track
        if any(not derived.status.is_finished for derived in asked):
            raise Conflict(f"the stems of node {node_id} are still being made", code="not-ready")
        there = sorted({track.name for derived in asked for track in derived.tracks})
        raise NotFound(f"node {node.id} has no stem {name[:80]!r}; it has: {', '.join(there) or 'none'}")
