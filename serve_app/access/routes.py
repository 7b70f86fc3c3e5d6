"""Keys, usage and the audit record."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request

from serve_app.access.audit import AuditLog, audited
from serve_app.access.callers import CurrentCaller, Operator
from serve_app.access.keys import TENANT, Keys
from serve_app.access.schemas import (
    AuditEntryView,
    AuditView,
    KeyListView,
    KeyView,
    NewKeyBody,
    NewKeyView,
    RotateBody,
    TenantListView,
    UsageView,
    key_view,
    limits_view,
    new_key_view,
    tenant_usage_view,
    usage_view,
)
from serve_app.access.usage import UsageService
from serve_app.http.dependencies import Limit, service
from serve_app.http.problems import FieldError, Unprocessable, problem_responses

KeyService = Annotated[Keys, service(Keys)]
Usages = Annotated[UsageService, service(UsageService)]
Audits = Annotated[AuditLog, service(AuditLog)]

router = APIRouter(prefix="/v1", tags=["access"])

KeyId = Annotated[str, "the id of a key, as the list shows it"]


@router.post("/keys", status_code=201, response_model=NewKeyView, responses=problem_responses(422))
async def create_key(
    wanted: NewKeyBody, request: Request, caller: Operator, keys: KeyService, usages: Usages
) -> NewKeyView:
    """Makes a key, which only this answer shows. Replicas take it at once."""
    made = await keys.create(wanted.tenant, wanted.tier, wanted.label, wanted.expires_in_s, caller)
    audited(key_id=made.credential.id, of_tenant=wanted.tenant)
    return new_key_view(made, usages.now, are_required=request.app.state.access.are_required)


@router.get("/keys", response_model=KeyListView)
async def list_keys(caller: Operator, keys: KeyService, usages: Usages) -> KeyListView:
    """Those that were made with this server, the newest first; those of the settings are not among them."""
    return KeyListView(keys=[key_view(each, usages.now) for each in await keys.all()])


@router.post(
    "/keys/{key_id}/rotate",
    status_code=201,
    response_model=NewKeyView,
    responses=problem_responses(404, 409, 422),
)
async def rotate_key(
    key_id: KeyId,
    request: Request,
    caller: Operator,
    keys: KeyService,
    usages: Usages,
    wanted: RotateBody | None = None,
) -> NewKeyView:
    """Makes another key of the same tenant and tier; the old one stays good for an hour, or `grace_s`."""
    made = await keys.rotate(key_id, (wanted or RotateBody()).grace_s, caller)
    audited(new_key_id=made.credential.id)
    return new_key_view(made, usages.now, are_required=request.app.state.access.are_required)


@router.delete("/keys/{key_id}", response_model=KeyView, responses=problem_responses(404))
async def revoke_key(key_id: KeyId, caller: Operator, keys: KeyService, usages: Usages) -> KeyView:
    """Ends a key, on every replica within seconds. Its record stays, as revoked."""
    return key_view(await keys.revoke(key_id), usages.now)


@router.get("/usage", response_model=UsageView, responses=problem_responses(422))
async def read_usage(
    request: Request,
    caller: CurrentCaller,
    usages: Usages,
    first: Annotated[date | None, Query(alias="from", description="the first day, of UTC")] = None,
    last: Annotated[date | None, Query(alias="to", description="the last day")] = None,
) -> UsageView:
    """What this tenant may use, holds, and used each day by kind of work; of the last 30 days unless asked."""
    tier = caller.tier
    limits = limits_view(
        request.app.state.access.tiers.limits(tier),
        tier.requests_per_minute if tier is not None else None,
        tier.streams if tier is not None else None,
    )
    try:
        days = await usages.days(caller.tenant, first, last)
    except ValueError as error:
        raise Unprocessable(f"from: {error}", errors=[FieldError("query.from", str(error))]) from error
    account = await usages.account(caller.tenant)
    return usage_view(account, tier.name if tier is not None else None, limits, days, usages.now)


@router.get("/usage/tenants", response_model=TenantListView)
async def list_tenants(
    caller: Operator,
    usages: Usages,
    cursor: Annotated[str, Query(max_length=64, pattern=TENANT.replace("{1,64}", "{0,64}"))] = "",
    limit: Limit = 50,
) -> TenantListView:
    """Every tenant with what it holds and has used today, by name."""
    accounts, after = await usages.tenants(cursor, limit)
    return TenantListView(tenants=[tenant_usage_view(each, usages.now) for each in accounts], cursor=after)


@router.get("/audit", response_model=AuditView, responses=problem_responses(422))
async def read_audit(
    caller: Operator,
    audits: Audits,
    day: Annotated[date | None, Query(description="of UTC; today unless given")] = None,
    tenant: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str, Query(max_length=100, pattern=r"^[A-Za-z0-9_-]*$")] = "",
    limit: Limit = 50,
) -> AuditView:
    """Who changed what on a day, in order: about so many entries, and where to go on."""
    entries, after = await audits.read(day, tenant, cursor, limit)
    return AuditView(entries=[AuditEntryView(**entry) for entry in entries], cursor=after)
