"""What a lawful key is, the same in every store. `paths` builds keys; stores check them here."""

from __future__ import annotations

import re

from storage.stores.object_store import BadKey

MAX_KEY_BYTES = 1024  # as S3 has it
MAX_COMPONENT_BYTES = 255  # as file systems have it

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


def check_key(key: str) -> None:
    """Raises BadKey unless `key` is components of `[A-Za-z0-9._-]`, none empty or beginning with a dot."""
    too_long = len(key) > MAX_KEY_BYTES or any(len(part) > MAX_COMPONENT_BYTES for part in key.split("/"))
    if too_long or not _KEY.fullmatch(key):
        raise BadKey(f"not a key: {key[:80]!r}")


def check_prefix(prefix: str) -> None:
    """Raises BadKey unless some lawful key begins with `prefix`."""
    if prefix:
        check_key(f"{prefix}_" if prefix.endswith("/") else prefix)


def check_folder(prefix: str) -> None:
    """Raises BadKey unless `prefix` names a folder: it ends in a slash, or is empty for the whole store."""
    check_prefix(prefix)
    if prefix and not prefix.endswith("/"):
        raise BadKey(f"not a folder: {prefix[:80]!r}")


def check_range(start: int, length: int) -> None:
    if start < 0 or length < 0:
        raise ValueError(f"no range of {length} bytes from {start}")
