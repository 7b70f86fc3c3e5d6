"""Ids: opaque strings, random or derived from an Idempotency-Key.

A derived id is the same for the same (tenant, route, key), so a repeated request finds its own records.
"""

from __future__ import annotations

import hashlib
import secrets

ID_BYTES = 12  # 24 hex digits: 96 bits


def random_id() -> str:
    return secrets.token_hex(ID_BYTES)


def derived_id(*parts: str) -> str:
    """An id from its parts. Each part is length-prefixed, so no two lists of parts collide by concatenation."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()[: 2 * ID_BYTES]
