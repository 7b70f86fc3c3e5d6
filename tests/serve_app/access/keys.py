"""Keys of settings, for tests."""

from __future__ import annotations

import hashlib


def configured(key: str, tenant: str, tier: str) -> dict[str, str]:
    return {"sha256": hashlib.sha256(key.encode()).hexdigest(), "tenant": tenant, "tier": tier}
