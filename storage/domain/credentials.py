"""Keys of clients, as they are kept: never the key itself, only its hash.

A key has 256 random bits, so nobody finds it from a plain SHA-256 by trying; a slow hash would only slow down every
request.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime

from storage.domain.model import DomainError

PREFIX = "segue_"
ID_CHARS = 16


class CredentialNotFound(DomainError):
    def __init__(self, key_id: str) -> None:
        super().__init__(f"no key {key_id}")


@dataclass(frozen=True, slots=True)
class Credential:
    """A key's record. `id` is the beginning of its hash, so that a key leads to its record. `replaced_by` is the
    id of the key that came in its place."""

    id: str
    sha256: str
    tenant: str
    tier: str
    label: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    replaced_by: str | None = None

    def is_good(self, now: datetime) -> bool:
        """Whether the key may still be used."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def new_key() -> str:
    """A key for a client, which is shown once and kept nowhere."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    """The SHA-256 of a key in hex, which is all that is kept of it."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def id_of(sha256: str) -> str:
    return sha256[:ID_CHARS]


def revoke(credential: Credential, now: datetime) -> Credential:
    """No longer good; again is the same."""
    return credential if credential.revoked_at is not None else replace(credential, revoked_at=now)


def give_way(credential: Credential, successor: str, until: datetime) -> Credential:
    """Good until then at most: another key has come in its place."""
    ends = [until, *([credential.expires_at] if credential.expires_at is not None else [])]
    return replace(credential, expires_at=min(ends), replaced_by=successor)
