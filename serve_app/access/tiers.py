"""The table of tiers, as the settings have it: what a tier may do, and how much its tenants may use."""

from __future__ import annotations

from collections.abc import Sequence

from configs.settings import Capability, Tier
from storage.domain.accounts import Limits


class Tiers:
    def __init__(self, rows: Sequence[Tier], unfinished_jobs: int) -> None:
        """`unfinished_jobs` is the limit of a tier that names none."""
        self._rows = tuple(rows)
        self._unfinished_jobs = unfinished_jobs

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(tier.name for tier in self._rows)

    def find(self, name: str) -> Tier | None:
        return next((tier for tier in self._rows if tier.name == name), None)

    def least_with(self, capability: Capability) -> str | None:
        """The first tier of the table that has it."""
        return next((tier.name for tier in self._rows if capability in tier.capabilities), None)

    def limits(self, tier: Tier | None) -> Limits:
        """Of a tenant of that tier; None: where there are no tiers."""
        if tier is None:
            return Limits(unfinished_jobs=self._unfinished_jobs)
        return Limits(
            unfinished_jobs=tier.unfinished_jobs or self._unfinished_jobs,
            gpu_s_per_day=tier.gpu_s_per_day,
            audio_s_per_day=tier.audio_s_per_day,
            stored_bytes=tier.stored_bytes,
            upload_bytes_per_day=tier.upload_bytes_per_day,
        )
