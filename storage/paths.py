"""Every key in the object store is built here, and nowhere else. What is kept begins with `tenants/{tenant}/`.

Ids come from clients in URLs, so each is checked before it becomes part of a key.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from storage.stores.object_store import BadKey

TENANTS = "tenants/"
STORAGE_CHECK = "probes/storage-check"
"""Of no tenant: written now and then to see whether the store takes writes."""
CREDENTIALS = "access/keys/"
"""Of no tenant: the keys of all."""
AUDIT = "access/audit/"
"""Of no tenant: who did what."""

_COMPONENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_LAST_MILLISECOND = 10**13 - 1


def component(text: str) -> str:
    """`text` itself if it may be one component of a key. Raises BadKey."""
    if not _COMPONENT.fullmatch(text):
        raise BadKey(f"not an id: {text[:80]!r}")
    return text


def chain(tenant: str, chain_id: str) -> str:
    return f"{_tenant(tenant)}chains/{component(chain_id)}.json"


def job(tenant: str, job_id: str) -> str:
    return f"{_tenant(tenant)}jobs/{component(job_id)}.json"


def export(tenant: str, export_id: str) -> str:
    return f"{_tenant(tenant)}exports/{component(export_id)}.json"


def account(tenant: str) -> str:
    return f"{_tenant(tenant)}account/account.json"


def usage(tenant: str, day: str) -> str:
    """What a tenant used on a day that is over (ISO 8601)."""
    return f"{folder(tenant, 'usage')}{component(day)}.json"


def requests(tenant: str) -> str:
    """How many requests a tenant may make at the moment."""
    return f"{_tenant(tenant)}account/requests.json"


def analysis(tenant: str, name: str) -> str:
    """What an analyser has said, in its cache."""
    return f"{folder(tenant, 'analyses')}{component(name)}.json"


def peaks(tenant: str, name: str) -> str:
    """The outline of some audio's waveform."""
    return f"{folder(tenant, 'peaks')}{component(name)}"


def credential(key_id: str) -> str:
    return f"{CREDENTIALS}{component(key_id)}.json"


def audit(day: str, name: str) -> str:
    """Entries of one UTC day (ISO 8601) that were written together."""
    return f"{AUDIT}{component(day)}/{component(name)}.jsonl"


def folder(tenant: str, kind: str) -> str:
    """What all keys of one kind begin with: `chains`, `jobs`, `exports`, `blobs`, `segments`, ..."""
    return f"{_tenant(tenant)}{component(kind)}/"


def active(tenant: str, job_id: str) -> str:
    return f"{active_folder(tenant)}{component(job_id)}"


def active_folder(tenant: str) -> str:
    return f"{_tenant(tenant)}active/"


def blob(tenant: str, name: str) -> str:
    return f"{_tenant(tenant)}blobs/{component(name)}"


def segment(tenant: str, job_id: str, fence: int, number: int) -> str:
    """A stretch of audio stored while it is being made, by the claim that makes it."""
    return f"{folder(tenant, 'segments')}{component(f'{component(job_id)}-{fence}-{number:04d}')}"


def released(tenant: str, blob_name: str) -> str:
    """A note of the collector: since then no record names the blob."""
    return f"{folder(tenant, 'released')}{component(blob_name)}"


def probe(tenant: str, name: str) -> str:
    """An object written to learn what time it is by the store's clock."""
    return f"{folder(tenant, 'probes')}{component(name)}"


def timeline_folder(tenant: str, kind: str) -> str:
    return f"{_tenant(tenant)}timeline/{component(kind)}/"


def timeline_entry(created_at: datetime, record_id: str) -> str:
    """A name that sorts the newest first: milliseconds counted down, then the id."""
    countdown = _LAST_MILLISECOND - int(created_at.timestamp() * 1000)
    return f"{countdown:013d}-{component(record_id)}"


def time_of_timeline_entry(entry: str) -> datetime:
    """The creation time in an entry's name, to the millisecond. Raises ValueError."""
    return datetime.fromtimestamp((_LAST_MILLISECOND - int(entry[:13])) / 1000, UTC)


def id_of_timeline_entry(entry: str) -> str:
    return entry[14:]


def _tenant(tenant: str) -> str:
    return f"{TENANTS}{component(tenant)}/"
