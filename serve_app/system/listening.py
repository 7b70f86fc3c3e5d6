"""Whether Segue may be served where its cluster listens, looked at while Serve builds it."""

from __future__ import annotations

import ray
from ray.serve.exceptions import RayServeException

from configs.settings import Settings
from serve_app.access.exposure import refusal_to_listen
from serve_app.system.cluster import serve_details


class OpenToStrangers(RayServeException):  # type: ignore[misc]
    """Others reach the proxies, and nobody is asked for a key."""


def require_keys(settings: Settings) -> None:
    """Nothing is refused where Serve does not run yet, and in tests. Raises OpenToStrangers."""
    if not ray.is_initialized():
        return
    try:
        options = serve_details().http_options
    except RayServeException:
        return
    refusal = refusal_to_listen(str(options.host), settings) if options is not None else None
    if refusal is not None:
        raise OpenToStrangers(refusal)
