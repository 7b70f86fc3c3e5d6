"""Clients' keys in the object store, one document for each, under the beginning of the key's hash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from storage import paths
from storage.domain.checks import require_types
from storage.domain.credentials import Credential, CredentialNotFound
from storage.domain.records import FORMAT_VERSION, BadRecord, format_time, parse_time, require_format
from storage.stores.clock import Clock, utc_now
from storage.stores.document import Codec, Document
from storage.stores.object_store import BadKey, ObjectNotFound, ObjectStore


class Credentials:
    def __init__(self, store: ObjectStore, clock: Clock = utc_now) -> None:
        self._store = store
        self._clock = clock

    async def create(self, credential: Credential) -> None:
        await self._document(credential.id).create(credential)

    async def find(self, key_id: str) -> Credential | None:
        """Raises DocumentCorrupt for a record that cannot be read."""
        try:
            return await self._document(key_id).load()
        except (ObjectNotFound, BadKey):
            return None

    async def change(self, key_id: str, edit: Callable[[Credential, datetime], Credential]) -> Credential:
        """Raises CredentialNotFound."""
        try:
            return await self._document(key_id).change(lambda found: edit(found, self._clock()))
        except (ObjectNotFound, BadKey) as error:
            raise CredentialNotFound(key_id) from error

    async def all(self) -> list[Credential]:
        """The newest first."""
        names = [
            found.key.removeprefix(paths.CREDENTIALS) async for found in self._store.list(paths.CREDENTIALS)
        ]
        found = await asyncio.gather(*(self.find(name.removesuffix(".json")) for name in names))
        return sorted(
            (each for each in found if each is not None), key=lambda each: each.created_at, reverse=True
        )

    def _document(self, key_id: str) -> Document[Credential]:
        return Document(
            self._store, paths.credential(key_id), CODEC, belongs=lambda found: found.id == key_id
        )


_TIMES = ("created_at", "expires_at", "revoked_at")
_TEXTS = ("id", "sha256", "tenant", "tier", "label", "created_by", "replaced_by")


def _to_record(credential: Credential) -> dict[str, Any]:
    times = {name: getattr(credential, name) for name in _TIMES}
    return {
        "format_version": FORMAT_VERSION,
        **{name: getattr(credential, name) for name in _TEXTS},
        **{name: None if value is None else format_time(value) for name, value in times.items()},
    }


def _from_record(record: Mapping[str, Any]) -> Credential:
    """Raises BadRecord."""
    require_format(record)
    try:
        times: dict[str, Any] = {
            name: None if record[name] is None else parse_time(record[name]) for name in _TIMES
        }
        credential = Credential(**{name: record[name] for name in _TEXTS}, **times)
        require_types(credential)
        return credential
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"not a record of a key: {error!r}") from error


CODEC: Codec[Credential] = Codec(encode=_to_record, decode=_from_record)
