"""Who is asking, and what they may do. Where no key is needed, everybody is the one local tenant and may do all."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from configs.settings import Capability, Tier
from deployments.telemetry.context import IDS, bind
from serve_app.http.problems import Forbidden, Unauthorized

LOCAL_TENANT = "local"


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant whose records a request sees: all keys in storage begin with its name. `tier` None: there are no
    tiers here. `key` is the id of the key, or of the token's subject; None without one."""

    tenant: str
    tier: Tier | None = None
    key: str | None = None

    @property
    def own_folder(self) -> str | None:
        """The name of the folder of the shared one that is this caller's; None where no keys are needed, and
        all of it is."""
        return None if self.tier is None else self.tenant

    @property
    def weight(self) -> int:
        return 1 if self.tier is None else self.tier.weight

    def may(self, capability: Capability) -> bool:
        return self.tier is None or capability in self.tier.capabilities

    def require(self, capability: Capability, least: str | None = None) -> None:
        """`least` is a tier that has it. Raises Forbidden where this one does not."""
        if self.tier is not None and not self.may(capability):
            needed = f"need the tier {least!r}" if least is not None else "are for no tier of this server"
            raise Forbidden(
                f"{_SUBJECTS[capability]} {needed}; this key is of the tier {self.tier.name!r}.",
                code="tier",
                members={
                    "tier": self.tier.name,
                    "capability": capability.value,
                    **({"required_tier": least} if least is not None else {}),
                },
            )


_SUBJECTS = {
    Capability.GENERATE: "New takes",
    Capability.STEMS: "Stems",
    Capability.EXPORT: "Exports",
    Capability.TOOLS: "The tools",
    Capability.ADMIN: "Keys, the usage of all tenants and the audit record",
}

OPEN = Caller(LOCAL_TENANT)
"""Everybody, where no key is needed."""

_calling: ContextVar[Caller] = ContextVar("segue_caller", default=OPEN)


def calling() -> Caller:
    """The caller of the request that is served in this context; outside a request, the local tenant."""
    return _calling.get()


def enter(request_scope_state: dict[str, object], caller: Caller) -> None:
    """Let what serves the request know its caller."""
    request_scope_state["caller"] = caller
    _calling.set(caller)


async def current_caller(request: Request) -> Caller:
    """The request's caller, whom `AccessMiddleware` has found before the body was read; an application without
    that middleware looks here. Raises Unauthorized."""
    known = request.scope.get("state", {}).get("caller")
    if isinstance(known, Caller):
        caller = known
    else:
        caller = await request.app.state.access.caller(request.headers)
        enter(request.scope.setdefault("state", {}), caller)
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


class Requires:
    """A dependency: the caller, if its tier has the capability."""

    def __init__(self, capability: Capability) -> None:
        self.capability = capability

    async def __call__(self, request: Request, caller: CurrentCaller) -> Caller:
        """Raises Forbidden."""
        caller.require(self.capability, request.app.state.access.tiers.least_with(self.capability))
        return caller


CallerWithStems = Annotated[Caller, Depends(Requires(Capability.STEMS))]
CallerWithTools = Annotated[Caller, Depends(Requires(Capability.TOOLS))]
CallerWithExport = Annotated[Caller, Depends(Requires(Capability.EXPORT))]
CallerWhoGenerates = Annotated[Caller, Depends(Requires(Capability.GENERATE))]
Operator = Annotated[Caller, Depends(Requires(Capability.ADMIN))]
