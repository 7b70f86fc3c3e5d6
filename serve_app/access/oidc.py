"""Bearer tokens (RFC 9068, OpenID Connect) of one issuer: signed with its keys, in date, meant for this server."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from configs.settings import OidcSettings

logger = logging.getLogger("segue.access")

REFRESH_S = 10.0
"""Between two looks for the issuer's keys at least, so that tokens with made-up key ids cost it nothing."""
FETCH_S = 5.0

_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")


class NotAToken(Exception):
    """What was presented is no token that counts here. The text is for the client."""


@dataclass(frozen=True, slots=True)
class Token:
    tenant: str
    tier: str
    subject: str


class Tokens:
    """Keeps the issuer's keys for `keys_s`, and looks for new ones when a token names a key that is not known.
    `transport` is for tests."""

    def __init__(
        self,
        settings: OidcSettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._monotonic = monotonic
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_s = float("-inf")
        self._tried_s = float("-inf")
        self._fetching = asyncio.Lock()

    async def verify(self, text: str) -> Token:
        """Raises NotAToken."""
        settings = self._settings
        try:
            key = await self._key(str(jwt.get_unverified_header(text).get("kid", "")))
            claims = jwt.decode(
                text,
                key,
                algorithms=list(settings.algorithms),
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_s,
                options={"require": ["exp", "iss"], "verify_aud": settings.audience is not None},
            )
        except jwt.ExpiredSignatureError as error:
            raise NotAToken("This token has expired.") from error
        except jwt.PyJWTError as error:
            logger.info("a token is refused: %r", error)
            raise NotAToken("This token is not valid here.") from error
        return self._token(claims)

    def _token(self, claims: Mapping[str, Any]) -> Token:
        subject = str(claims.get("sub", ""))
        whose = claims.get(self._settings.tenant_claim)
        if not isinstance(whose, str) or not whose:
            raise NotAToken(
                f"This token does not say whose it is: it has no {self._settings.tenant_claim!r}."
            )
        tier = claims.get(self._settings.tier_claim, self._settings.tier)
        tenant = (
            whose if _TENANT.fullmatch(whose) else f"oidc-{hashlib.sha256(whose.encode()).hexdigest()[:32]}"
        )
        return Token(tenant, str(tier), subject or tenant)

    async def _key(self, kid: str) -> jwt.PyJWK:
        async with self._fetching:
            now_s = self._monotonic()
            is_old = now_s - self._fetched_s >= self._settings.keys_s
            if (is_old or kid not in self._keys) and now_s - self._tried_s >= REFRESH_S:
                self._tried_s = now_s
                try:
                    self._keys = await self._fetch()
                    self._fetched_s = now_s
                except (httpx.HTTPError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
                    logger.error(
                        "the issuer's keys cannot be read: %r", error
                    )  # those that are known hold on
            found = self._keys.get(kid)
        if found is None:
            raise NotAToken("This token is signed with a key that its issuer does not have.")
        return found

    async def _fetch(self) -> Mapping[str, jwt.PyJWK]:
        async with httpx.AsyncClient(transport=self._transport, timeout=FETCH_S) as client:
            url = self._settings.jwks_url
            if url is None:
                issuer = str(self._settings.issuer).rstrip("/")
                found = await client.get(f"{issuer}/.well-known/openid-configuration")
                url = str(found.raise_for_status().json()["jwks_uri"])
            keys = (await client.get(url)).raise_for_status().json()["keys"]
        known = {}
        for key in keys:
            try:
                known[str(key.get("kid", ""))] = jwt.PyJWK(key)
            except jwt.PyJWTError as error:  # of a kind that is not known here
                logger.info("a key of the issuer is passed over: %r", error)
        return known
