"""Looks before `make run` starts, in the foreground of its terminal: `python -m serve_app.preflight CONFIG.yaml`.

- Every served model's name is known: Serve would go on without an application, and serve nothing.
- A server that others reach asks for keys, or its settings allow it without.
- Exports can be signed, where the settings name a key for that.
- The port is free: Serve binds it so that two servers can share it, and two Segues would answer by turns.
- The weights are there: they are downloaded here, with a bar, and the replicas load them without a network.

Ends with 1 and one sentence where one of these does not hold.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import yaml
from rich.console import Console

from configs.settings import Settings
from deployments.export.c2pa import load_signer
from serve_app.access.exposure import refusal_to_listen
from serve_app.fetch import fetch_on_console, run, served_weights, settings_of


def exposed(config: Path, settings: Settings) -> str | None:
    """Why a deploy file may not be served: its proxy listens on more than loopback, and nothing says whether
    keys are needed. None: it may."""
    options = yaml.safe_load(config.read_text()).get("http_options") or {}
    return refusal_to_listen(str(options.get("host", "127.0.0.1")), settings)


def occupied(config: Path) -> str | None:
    """`host:port` of a deploy file's proxy if something listens there already, else None."""
    options = yaml.safe_load(config.read_text())["http_options"]
    host, port = str(options["host"]), int(options["port"])
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return f"{host}:{port}" if probe.connect_ex((host, port)) == 0 else None


def check(config: Path, console: Console) -> None:
    """Raises EngineError, ValueError with one sentence."""
    settings = settings_of(config)
    refused = exposed(config, settings)
    if refused is not None:
        raise ValueError(refused)
    load_signer(settings.export.c2pa_key, settings.export.c2pa_certificates)
    models = served_weights(settings)
    address = occupied(config)
    if address is not None:
        raise ValueError(f"{address} is in use: stop the server that listens there, or change the port.")
    fetch_on_console(models, console)


def main() -> int:
    return run(lambda console: check(Path(sys.argv[1]), console))


if __name__ == "__main__":
    sys.exit(main())
