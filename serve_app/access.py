"""Who is asking. With no keys configured, which is all there is so far, everybody is the one local tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

LOCAL_TENANT = "local"


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant whose records a request sees: all keys in storage begin with its name."""

    tenant: str


async def current_caller() -> Caller:
    """Async only so that FastAPI calls it on the loop: a plain function would cost a trip through a thread."""
    return Caller(LOCAL_TENANT)


CurrentCaller = Annotated[Caller, Depends(current_caller)]
