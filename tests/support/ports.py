"""Ports for servers that are started a while after their port was chosen."""

from __future__ import annotations

import secrets
import socket

_PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to whoever asks for any (from 32 768 on), as Ray's processes and clients do all
the time; above Ray's workers (up to 19 999)."""

_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, and that nobody is given by chance before its server takes it."""
    while True:
        port = secrets.choice(_PORTS)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
