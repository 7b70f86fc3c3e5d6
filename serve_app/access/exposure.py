"""Whether a server may listen where others reach it: only if it asks for keys, or its settings allow it without."""

from __future__ import annotations

import ipaddress

from configs.settings import Settings


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches a server that listens on `host`."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def refusal_to_listen(host: str, settings: Settings) -> str | None:
    """One sentence, or None where it may listen there."""
    if is_loopback(host) or settings.keys_are_required or settings.access.required is not None:
        return None
    return (
        f"Segue would listen on {host} and ask nobody for a key. Configure access.keys; or set access.required: "
        "true (SEGUE_ACCESS__REQUIRED=true) and make keys with `python -m serve_app.keys create`; or set it to "
        "false, and everybody may do everything."
    )
