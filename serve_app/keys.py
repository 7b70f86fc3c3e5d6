"""Keys without a server: `python -m serve_app.keys create --tenant NAME --tier operator`, on a machine that
reaches the storage. So the first key is made, which `segue keys` needs to make others.

The settings are those of the environment, and of a deploy file with `--config`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from configs.environment import load_settings
from configs.settings import Settings
from serve_app.access.keys import Keys
from serve_app.access.tiers import Tiers
from serve_app.fetch import settings_of
from serve_app.http.problems import Problem
from storage.domain.credentials import Credential, CredentialNotFound
from storage.repositories.credentials import Credentials
from storage.stores.clock import utc_now
from storage.stores.object_store import StoreError
from storage.stores.opening import open_store


async def work(settings: Settings, args: argparse.Namespace) -> str:
    """What is printed. Raises Problem, CredentialNotFound, StoreError."""
    store = open_store(settings.storage)
    try:
        tiers = Tiers(settings.access.tiers, settings.jobs.max_active_per_tenant)
        keys = Keys(Credentials(store), tiers)
        match args.command:
            case "create":
                return (await keys.create(args.tenant, args.tier, args.label, None, None)).key
            case "rotate":
                return (await keys.rotate(args.key, args.grace, None)).key
            case "revoke":
                return _line(await keys.revoke(args.key))
            case _:
                return "\n".join(_line(each) for each in await keys.all())
    finally:
        await store.close()


def _line(key: Credential) -> str:
    state = "good" if key.is_good(utc_now()) else "ended"
    return f"{key.id}  {state}  {key.tenant}  {key.tier}  {key.label}".rstrip()


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m serve_app.keys", description="Keys, straight in the storage."
    )
    root.add_argument("--config", type=Path, help="a deploy file, for its storage and tiers")
    commands = root.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key; it is printed this once")
    create.add_argument("--tenant", required=True)
    create.add_argument("--tier", default="operator", help="(operator)")
    create.add_argument("--label", default="")
    commands.add_parser("list", help="all keys, the newest first")
    rotate = commands.add_parser("rotate", help="make another in the place of one")
    rotate.add_argument("key", metavar="ID")
    rotate.add_argument(
        "--grace", type=float, default=3600.0, help="seconds that the old one stays good (3600)"
    )
    revoke = commands.add_parser("revoke", help="end one")
    revoke.add_argument("key", metavar="ID")
    return root


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        print(
            asyncio.run(work(settings_of(args.config) if args.config is not None else load_settings(), args))
        )
    except (Problem, CredentialNotFound, StoreError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
