"""What analysers have said, by what they were given: a cache that may be emptied at any time.

A node's analysis has a document of its own; this is where the next node with the same audio finds it said already.
"""

from __future__ import annotations

import logging

from storage import paths
from storage.stores.object_store import ObjectNotFound, ObjectStore, StoreError

logger = logging.getLogger("segue.analyses")


class Analyses:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def find(self, tenant: str, name: str) -> bytes | None:
        """The document of that name; None where there is none, or the store does not answer."""
        try:
            return (await self._store.get(paths.analysis(tenant, name))).data
        except ObjectNotFound:
            return None
        except StoreError as error:
            logger.info("the cache of analyses does not answer: %r", error)
            return None

    async def keep(self, tenant: str, name: str, document: bytes) -> None:
        """Nothing is lost where this fails."""
        try:
            await self._store.put(paths.analysis(tenant, name), document)
        except StoreError as error:
            logger.info("the cache of analyses takes nothing: %r", error)
