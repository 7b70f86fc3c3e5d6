"""Profiles: named sets of settings, below what a deploy file and the environment say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")

PROFILES: Mapping[str, Mapping[str, Any]] = {
    # A laptop: one machine, a local folder, the starter models. Answers only to loopback names, so that no web
    # page can reach it through a name of its own (DNS rebinding).
    "local": {
        "http": {
            "allowed_hosts": LOOPBACK_HOSTS,
            "cors_origins": ("http://localhost:3000", "http://localhost:5173"),
        },
    },
    # A cluster behind a load balancer, which checks names itself. Real weights on GPUs.
    "cluster": {
        "models": {"served": ("facebook/musicgen-small",)},
        "separation": {"served": ("htdemucs",), "in_flight": 4},
        # A runner keeps four replicas of the generator busy: they scale by what reaches them, not by what waits
        # in storage.
        "jobs": {"concurrent": 32},
        "log_level": "INFO",
    },
}
