"""Outlines of waveforms, by the audio that they are of: they may be removed at any time, and are made again.

Each is kept behind its own SHA-256, so that a damaged one is as good as none.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

from storage import paths
from storage.stores.object_store import ObjectNotFound, ObjectStore, StoreError

logger = logging.getLogger("segue.peaks")

_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class StoredPeaks:
    """`sha256` is of `data`, in hexadecimal."""

    data: bytes
    sha256: str


class Peaks:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def find(self, tenant: str, name: str) -> StoredPeaks | None:
        """None where there are none, or they are damaged. Raises StoreError."""
        try:
            kept = (await self._store.get(paths.peaks(tenant, name))).data
        except ObjectNotFound:
            return None
        digest, data = kept[:_DIGEST_BYTES], kept[_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            logger.warning("peaks %s are damaged, and are made again", name)
            return None
        return StoredPeaks(data, digest.hex())

    async def keep(self, tenant: str, name: str, data: bytes) -> StoredPeaks:
        """Nothing is lost where this fails."""
        digest = hashlib.sha256(data).digest()
        try:
            await self._store.put(paths.peaks(tenant, name), digest + data)
        except StoreError as error:
            logger.info("peaks %s are not kept: %r", name, error)
        return StoredPeaks(data, digest.hex())
