"""Keys and usage over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from serve_app.access.keys import TENANT, NewKey
from serve_app.http.fields import Number, Request, Text
from storage.domain.accounts import NOTHING, Account, Amounts, Day, Limits
from storage.domain.credentials import Credential
from storage.domain.records import format_time

LONGEST_S = 10 * 365 * 24 * 3600.0


class NewKeyBody(Request):
    tenant: Annotated[Text, Field(pattern=TENANT)]
    tier: Annotated[Text, Field(max_length=32)] = "free"
    label: Annotated[Text, Field(max_length=200, description="what people call it")] = ""
    expires_in_s: Annotated[Number | None, Field(gt=0, le=LONGEST_S)] = None


class RotateBody(Request):
    grace_s: Annotated[
        Number, Field(ge=0, le=30 * 24 * 3600.0, description="how long the old key stays good")
    ] = 3600.0


class KeyView(BaseModel):
    """`key` itself is nowhere: only the answer that made it has it."""

    id: str
    tenant: str
    tier: str
    label: str
    state: Annotated[str, Field(description="good, expired or revoked")]
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    replaced_by: str | None


class NewKeyView(KeyView):
    key: Annotated[str, Field(description="shown this once")]
    notice: str | None = None


class KeyListView(BaseModel):
    keys: list[KeyView]


class AmountsView(BaseModel):
    jobs: int
    gpu_s: Annotated[float, Field(description="seconds that models worked")]
    audio_s: Annotated[float, Field(description="seconds of audio, made or worked on")]
    stored_bytes: int
    upload_bytes: int


class DayView(BaseModel):
    day: Annotated[str, Field(description="of UTC")]
    kinds: dict[str, AmountsView]
    total: AmountsView


class LimitsView(BaseModel):
    unfinished_jobs: int | None
    gpu_s_per_day: float | None
    audio_s_per_day: float | None
    stored_bytes: int | None
    upload_bytes_per_day: int | None
    requests_per_minute: int | None
    streams: int | None


class UsageView(BaseModel):
    """`held` is what unfinished work may still need; it counts towards the limits."""

    tenant: str
    tier: str | None
    limits: LimitsView
    stored_bytes: int
    held: AmountsView
    today: AmountsView
    days: list[DayView]


class TenantUsageView(BaseModel):
    tenant: str
    stored_bytes: int
    measured_at: str | None
    held: AmountsView
    today: AmountsView


class TenantListView(BaseModel):
    tenants: list[TenantUsageView]
    cursor: str | None


class AuditEntryView(BaseModel):
    """Who did what, on what, from where, and how it ended."""

    at: str
    tenant: str | None
    key: str | None
    action: str
    status: int
    ids: dict[str, str]
    sha256: str | None
    jobs: list[str]
    client: str | None
    request_id: str


class AuditView(BaseModel):
    entries: list[AuditEntryView]
    cursor: str | None


def key_view(credential: Credential, now: datetime) -> KeyView:
    return KeyView(**_key_fields(credential, now))


def new_key_view(made: NewKey, now: datetime, *, are_required: bool) -> NewKeyView:
    notice = None if are_required else "This server does not ask for keys: set access.required to true."
    return NewKeyView(**_key_fields(made.credential, now), key=made.key, notice=notice)


def _key_fields(credential: Credential, now: datetime) -> dict[str, str | None]:
    state = (
        "good" if credential.is_good(now) else "revoked" if credential.revoked_at is not None else "expired"
    )
    return {
        "id": credential.id,
        "tenant": credential.tenant,
        "tier": credential.tier,
        "label": credential.label,
        "state": state,
        "created_at": format_time(credential.created_at),
        "created_by": credential.created_by,
        "expires_at": _time(credential.expires_at),
        "revoked_at": _time(credential.revoked_at),
        "replaced_by": credential.replaced_by,
    }


def amounts_view(amounts: Amounts) -> AmountsView:
    rounded = {name: round(value, 3) for name, value in asdict(amounts).items()}
    return AmountsView(**rounded)


def day_view(day: str, used: Day) -> DayView:
    kinds = {kind: amounts_view(amounts) for kind, amounts in sorted(used.items())}
    return DayView(day=day, kinds=kinds, total=amounts_view(sum(used.values(), NOTHING)))


def limits_view(limits: Limits, requests_per_minute: int | None, streams: int | None) -> LimitsView:
    return LimitsView(**asdict(limits), requests_per_minute=requests_per_minute, streams=streams)


def tenant_usage_view(account: Account, now: datetime) -> TenantUsageView:
    return TenantUsageView(
        tenant=account.tenant,
        stored_bytes=account.stored_bytes,
        measured_at=_time(account.measured_at),
        held=amounts_view(account.reserved()),
        today=amounts_view(account.used_on(now.date())),
    )


def usage_view(
    account: Account, tier: str | None, limits: LimitsView, days: Mapping[str, Day], now: datetime
) -> UsageView:
    shown = tenant_usage_view(account, now)
    return UsageView(
        tenant=shown.tenant,
        tier=tier,
        limits=limits,
        stored_bytes=shown.stored_bytes,
        held=shown.held,
        today=shown.today,
        days=[day_view(day, used) for day, used in sorted(days.items(), reverse=True)],
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
