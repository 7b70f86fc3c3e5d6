"""`python -m serve_app.collect`: delete what nothing needs any more (`storage.gc.collector`), or only list it.

To be run now and then, by cron or by hand, while Segue runs or not. It reads the settings that the server reads:
the environment, then the deploy file that the server is started with (`--config`); options come before both.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from ray.serve.schema import ServeDeploySchema

from configs.environment import DEFAULT_PROFILE, load_settings
from configs.settings import Settings, StorageSettings
from deployments.temporary import sweep_temporary_folders
from storage.domain.model import DomainError
from storage.gc.collector import Collector
from storage.gc.rules import DAY_S, Doomed, Retention
from storage.stores.object_store import StoreError
from storage.stores.opening import open_store

EXIT_ERROR = 1
IMPORT_PATH = "serve_app.app:build"


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 1 for an error (2 for wrong usage)."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        whole = _settings(args.config)
        settings, kept = whole.storage, whole.retention
        retention = Retention(
            grace_s=kept.grace_s if args.grace_hours is None else args.grace_hours * 3600,
            exports_s=_seconds(args.keep_exports_days, kept.exports_s),
            tombstones_s=_seconds(args.keep_tombstones_days, kept.tombstones_s),
            outputs_s=_seconds(args.keep_outputs_days, whole.process.outputs_s),
            analyses_s=_seconds(args.keep_analyses_days, kept.analyses_s),
            jobs_s=_seconds(args.keep_jobs_days, kept.jobs_s),
            keys_s=whole.jobs.idempotency_ttl_s,
        )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    try:
        if args.storage:
            settings = settings.model_copy(update={"url": args.storage})
        asyncio.run(_collect(settings, retention, dry_run=args.dry_run))
        if not args.dry_run:
            sweep_temporary_folders()
    except (StoreError, DomainError, ValueError) as error:
        print(f"nothing more is deleted: {error}", file=sys.stderr)
        return EXIT_ERROR
    return 0


async def _collect(settings: StorageSettings, retention: Retention, *, dry_run: bool) -> None:
    store = open_store(settings)
    try:
        collector = Collector(store, retention)
        plan = await collector.plan()
        gone = plan if dry_run else await collector.collect(plan)
    finally:
        await store.close()
    for doomed in gone:
        print(_line(doomed))
    size_mb = sum(doomed.size_bytes for doomed in gone) / 1e6
    print(f"{len(gone)} objects, {size_mb:.1f} MB {'would be' if dry_run else 'were'} deleted")


def _line(doomed: Doomed) -> str:
    return f"{doomed.age_s / DAY_S:7.1f} d {doomed.size_bytes:12d} B  {doomed.key}  ({doomed.reason})"


def _settings(config: Path | None) -> Settings:
    """As the server that is started with this deploy file has them. Raises OSError, ValueError for a file that is
    none, or that deploys Segue several times."""
    if config is None:
        return load_settings()
    try:
        deployed = ServeDeploySchema.model_validate(yaml.safe_load(config.read_text()))
    except yaml.YAMLError as error:
        raise ValueError(f"{config} is not YAML: {error}") from error
    ours = [app.args for app in deployed.applications if app.import_path == IMPORT_PATH]
    if len(ours) != 1:
        raise ValueError(f"{config} has {len(ours)} applications of {IMPORT_PATH}, and one is needed")
    return load_settings(ours[0].get("settings"), profile=ours[0].get("profile", DEFAULT_PROFILE))


def _seconds(days: float | None, configured_s: float | None) -> float | None:
    if days is None:
        return configured_s
    return days * DAY_S if days else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serve_app.collect", description=__doc__)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the deploy file that the server is started with"
    )
    parser.add_argument("--storage", metavar="URL", help="the store; otherwise as the server's settings say")
    parser.add_argument("--dry-run", action="store_true", help="list what would be deleted, delete nothing")
    parser.add_argument(
        "--grace-hours", type=float, metavar="H", help="how old garbage has to be (retention.grace_s)"
    )
    parser.add_argument("--keep-exports-days", type=float, metavar="D", help="0: for good")
    parser.add_argument("--keep-tombstones-days", type=float, metavar="D", help="0: for good")
    parser.add_argument("--keep-outputs-days", type=float, metavar="D", help="of processing; 0: for good")
    parser.add_argument("--keep-analyses-days", type=float, metavar="D", help="of the cache; 0: for good")
    parser.add_argument(
        "--keep-jobs-days", type=float, metavar="D", help="records of ended jobs; 0: for good"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
