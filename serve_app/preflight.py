"""Looks before `make run` starts: Serve binds its port so that two servers can share it, and two Segues on one
port would answer by turns. `python -m serve_app.preflight CONFIG.yaml` fails with one clear line instead."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import yaml


def occupied(config: Path) -> str | None:
    """`host:port` of a deploy file's proxy if something listens there already, else None."""
    options = yaml.safe_load(config.read_text())["http_options"]
    host, port = str(options["host"]), int(options["port"])
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return f"{host}:{port}" if probe.connect_ex((host, port)) == 0 else None


def main() -> int:
    address = occupied(Path(sys.argv[1]))
    if address is None:
        return 0
    print(f"{address} is in use: stop the server that listens there, or change the port.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
