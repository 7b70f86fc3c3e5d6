"""From what a request presents to its caller: a configured key, a key of the storage, or a token of the issuer."""

from __future__ import annotations

import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from configs.settings import AccessKey, Settings
from serve_app.access.callers import OPEN, Caller
from serve_app.access.oidc import NotAToken, Tokens
from serve_app.access.tiers import Tiers
from serve_app.http.problems import Forbidden, Unauthorized
from storage.domain.credentials import Credential, hash_of, id_of
from storage.repositories.credentials import Credentials
from storage.stores.clock import Clock, utc_now
from storage.stores.document import DocumentCorrupt

logger = logging.getLogger("segue.access")

REMEMBERED = 4096
"""Keys of the storage, known ones and others, whose records are kept in memory for a moment."""


@dataclass(frozen=True, slots=True)
class _Seen:
    credential: Credential | None
    at_s: float


class StoredKeys:
    """Keys of the storage as they were at most `cache_s` ago. One that is not there is remembered too, so that
    guessing costs the storage little."""

    def __init__(
        self,
        credentials: Credentials,
        cache_s: float,
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials = credentials
        self._cache_s = cache_s
        self._clock = clock
        self._monotonic = monotonic
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    async def find(self, sha256: str) -> Credential | None:
        """The record of the key with this hash, if it may be used. Raises StoreError."""
        now_s = self._monotonic()
        seen = self._seen.get(sha256)
        if seen is None or now_s - seen.at_s >= self._cache_s:
            seen = self._seen[sha256] = _Seen(await self._read(sha256), now_s)
            self._seen.move_to_end(sha256)
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        found = seen.credential
        return found if found is not None and found.is_good(self._clock()) else None

    async def _read(self, sha256: str) -> Credential | None:
        try:
            found = await self._credentials.find(id_of(sha256))
        except DocumentCorrupt as error:
            logger.error("a key's record cannot be read: %s", error)
            return None
        return found if found is not None and hmac.compare_digest(found.sha256, sha256) else None


class Access:
    """`stored` and `tokens` None: there are no keys in a storage, and no issuer."""

    def __init__(
        self,
        settings: Settings,
        tiers: Tiers,
        stored: StoredKeys | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self.tiers = tiers
        self._configured: Mapping[str, AccessKey] = {key.sha256: key for key in settings.access.keys}
        self._are_required = settings.keys_are_required
        self._stored = stored
        self._tokens = tokens

    @property
    def are_required(self) -> bool:
        """Whether a request needs a key."""
        return self._are_required

    async def caller(self, headers: Mapping[str, str]) -> Caller:
        """Of `Authorization: Bearer KEY` or `X-API-Key: KEY`. Without a key, where none is needed, it is the local
        tenant. Raises Unauthorized for no key or an unknown one, Forbidden for one whose tier is gone, StoreError.
        """
        presented = _presented(headers)
        if not presented:
            if not self._are_required:
                return OPEN
            raise Unauthorized("Send a key: Authorization: Bearer KEY, or X-API-Key: KEY.")
        sha256 = hash_of(presented)
        key: AccessKey | Credential | None = self._configured.get(sha256)
        if key is None and self._tokens is not None and presented.count(".") == 2:
            try:
                token = await self._tokens.verify(presented)
            except NotAToken as error:
                raise Unauthorized(str(error)) from error
            return self._caller(token.tenant, token.tier, token.subject)
        if key is None and self._stored is not None:
            key = await self._stored.find(sha256)
        if key is None:
            raise Unauthorized("This key is not known here.")
        return self._caller(key.tenant, key.tier, id_of(sha256))

    def _caller(self, tenant: str, tier_name: str, key: str) -> Caller:
        tier = self.tiers.find(tier_name)
        if tier is None:
            raise Forbidden(f"This server has no tier {tier_name!r} any more: ask its operator.", code="tier")
        return Caller(tenant, tier, key)


def _presented(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()
