"""Who is asking, and what they may do. With no keys configured everybody is the one local tenant and may do all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from configs.settings import AccessKey, AccessSettings, Tier
from deployments.telemetry.context import IDS, bind
from serve_app.http.problems import Forbidden, Unauthorized

LOCAL_TENANT = "local"


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant whose records a request sees: all keys in storage begin with its name. `tier` None: there are no
    tiers here."""

    tenant: str
    tier: Tier | None = None

    @property
    def own_folder(self) -> str | None:
        """The name of the folder of the shared one that is this caller's; None where no keys are configured, and
        all of it is."""
        return None if self.tier is None else self.tenant

    def require_stems(self) -> None:
        """Raises Forbidden where the tier does not include source separation."""
        if self.tier is Tier.FREE:
            raise Forbidden(
                f"Stems need the tier {Tier.PAID.value!r}; this key is of the tier {self.tier.value!r}.",
                code="tier",
                members={"tier": self.tier.value, "required_tier": Tier.PAID.value},
            )


class Access:
    """The configured keys, found by their hashes: the keys themselves are nowhere on the server."""

    def __init__(self, settings: AccessSettings) -> None:
        self._keys: Mapping[str, AccessKey] = {key.sha256: key for key in settings.keys}

    @property
    def has_keys(self) -> bool:
        return bool(self._keys)

    def caller(self, authorization: str | None, api_key: str | None) -> Caller:
        """`Authorization: Bearer KEY` or `X-API-Key: KEY`. Raises Unauthorized for no key or an unknown one."""
        if not self._keys:
            return Caller(LOCAL_TENANT)
        scheme, _, token = (authorization or "").partition(" ")
        presented = token.strip() if scheme.lower() == "bearer" else api_key
        if not presented:
            raise Unauthorized("Send a key: Authorization: Bearer KEY, or X-API-Key: KEY.")
        key = self._keys.get(hashlib.sha256(presented.encode()).hexdigest())
        if key is None:
            raise Unauthorized("This key is not known here.")
        return Caller(key.tenant, key.tier)


async def current_caller(request: Request) -> Caller:
    """Async only so that FastAPI calls it on the loop: a plain function would cost a trip through a thread."""
    access: Access = request.app.state.access
    caller = access.caller(request.headers.get("authorization"), request.headers.get("x-api-key"))
    bind(tenant=caller.tenant, **{name: value for name, value in request.path_params.items() if name in IDS})
    return caller


async def known_caller(request: Request) -> Caller | None:
    """The caller, or None for one without a (known) key: for routes that answer everybody, but not with all."""
    try:
        return await current_caller(request)
    except Unauthorized:
        return None


KnownCaller = Annotated[Caller | None, Depends(known_caller)]
CurrentCaller = Annotated[Caller, Depends(current_caller)]


async def caller_with_stems(caller: CurrentCaller) -> Caller:
    """Raises Forbidden."""
    caller.require_stems()
    return caller


CallerWithStems = Annotated[Caller, Depends(caller_with_stems)]
