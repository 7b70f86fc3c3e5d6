"""Keys of the storage: made, listed, rotated, revoked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from serve_app.access.callers import Caller
from serve_app.access.tiers import Tiers
from serve_app.http.problems import Conflict, FieldError, Unprocessable
from storage.domain.credentials import Credential, give_way, hash_of, id_of, new_key, revoke
from storage.repositories.credentials import Credentials
from storage.stores.clock import Clock, utc_now

TENANT = r"^[A-Za-z0-9_-]{1,64}$"


@dataclass(frozen=True, slots=True)
class NewKey:
    """`key` itself is here this once, and nowhere else."""

    key: str
    credential: Credential


class Keys:
    def __init__(self, credentials: Credentials, tiers: Tiers, clock: Clock = utc_now) -> None:
        self._credentials = credentials
        self._tiers = tiers
        self._clock = clock

    async def create(
        self, tenant: str, tier: str, label: str, expires_in_s: float | None, by: Caller | None
    ) -> NewKey:
        """Raises Unprocessable for a tier that is not in the table or a name that is no tenant's, StoreError."""
        if self._tiers.find(tier) is None:
            raise _wrong("tier", f"must be one of {', '.join(self._tiers.names)}")
        if not re.fullmatch(TENANT, tenant):
            raise _wrong("tenant", "must be letters, digits, _ and -, 64 at most")
        now, key = self._clock(), new_key()
        sha256 = hash_of(key)
        credential = Credential(
            id=id_of(sha256),
            sha256=sha256,
            tenant=tenant,
            tier=tier,
            label=label,
            created_at=now,
            created_by=_name(by),
            expires_at=None if expires_in_s is None else now + timedelta(seconds=expires_in_s),
        )
        await self._credentials.create(credential)
        return NewKey(key, credential)

    async def all(self) -> list[Credential]:
        """The newest first."""
        return await self._credentials.all()

    async def rotate(self, key_id: str, grace_s: float, by: Caller | None) -> NewKey:
        """Another key of the same lifetime in the place of this one, which stays good for `grace_s`. Raises
        CredentialNotFound, Conflict for one that is no longer good, StoreError."""
        old = await self._credentials.change(key_id, lambda found, now: found)
        if not old.is_good(self._clock()):
            raise Conflict("This key is no longer good: make a new one.", code="key-ended")
        lifetime = None if old.expires_at is None else old.expires_at - old.created_at
        expires_in_s = None if lifetime is None else lifetime.total_seconds()
        made = await self.create(old.tenant, old.tier, old.label, expires_in_s, by)
        until = self._clock() + timedelta(seconds=grace_s)
        await self._credentials.change(key_id, lambda found, now: give_way(found, made.credential.id, until))
        return made

    async def revoke(self, key_id: str) -> Credential:
        """Good no longer, on every replica within `access.cache_s`. Raises CredentialNotFound, StoreError."""
        return await self._credentials.change(key_id, revoke)


def _name(caller: Caller | None) -> str:
    return "command" if caller is None else f"{caller.tenant}/{caller.key or 'no key'}"


def _wrong(field: str, message: str) -> Unprocessable:
    return Unprocessable(f"{field}: {message}", errors=[FieldError(field, message)], code="invalid-request")
