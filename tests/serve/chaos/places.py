"""Where the data of a run lies: a folder, or a bucket that keeps every version of every object."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from configs.settings import StorageSettings
from storage import paths
from storage.stores.s3.address import S3Address
from tests.serve.chaos.evidence import DOCUMENTS, StoredObjects
from tests.serve.chaos.stand import Victim
from tests.storage.stores.s3_servers import Ministack, named_server
from tests.support.invariants import Write

CONCURRENT_READS = 8


@dataclass(frozen=True)
class Place:
    """`environment` brings a cluster here. `history` is every version of all documents that there is, oldest
    first for each. `kill_server` is a SIGKILL of the S3 server, which starts again on the same data; returns its
    pid. None where there is no server, or where it is not this program's."""

    name: str
    settings: StorageSettings
    environment: Mapping[str, str]
    history: Callable[[StoredObjects, str], list[Write]]
    kill_server: Callable[[], int] | None = None


def immune(place: Place) -> frozenset[Victim]:
    """What cannot be killed there."""
    return frozenset() if place.kill_server is not None else frozenset({Victim.STORE})


@contextmanager
def in_folder(folder: Path) -> Iterator[Place]:
    """A local folder, which keeps the last version of an object and no other."""
    url = f"file:{folder / 'data'}"
    settings, environment = StorageSettings(url=url), {"SEGUE_STORAGE": url}
    yield Place("local folder", settings, environment, lambda objects, tenant: objects.documents())


@contextmanager
def in_bucket(folder: Path) -> Iterator[Place]:
    """A bucket of its own, with versions, on the server that tests of S3 use: one in `folder`, or the
    environment's."""
    with ExitStack() as stack:
        own, named = None, named_server()
        if named is None:
            own = Ministack(folder)
            stack.callback(own.kill)
            own.start()
        server = stack.enter_context(named) if named is not None else own.server
        client = stack.enter_context(closing(server.client()))
        bucket = f"segue-chaos-{secrets.token_hex(6)}"
        client.create_bucket(Bucket=bucket)
        _keep_versions(client, bucket)

        def kill_server() -> int:
            assert own is not None
            pid = own.kill()
            own.start()
            _keep_versions(client, bucket)  # ministack forgets that it was asked to
            assert pid is not None
            return pid

        settings = StorageSettings(url=f"s3://{bucket}", endpoint_url=server.endpoint_url)
        environment = {
            "SEGUE_STORAGE": settings.url,
            "SEGUE_STORAGE__ENDPOINT_URL": server.endpoint_url,
            **server.environment(),
        }
        name = "S3" if server.is_real else "S3 (ministack)"
        with patch.dict(os.environ, server.environment()):
            yield Place(
                name,
                settings,
                environment,
                lambda _, tenant: _versions(client, settings.url, tenant),
                kill_server if own is not None else None,
            )


def _keep_versions(client: Any, bucket: str) -> None:
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def _versions(client: Any, url: str, tenant: str) -> list[Write]:
    address = S3Address.parse(url)
    pages = client.get_paginator("list_object_versions")
    listed = [
        version
        for kind in DOCUMENTS
        for page in pages.paginate(
            Bucket=address.bucket, Prefix=f"{address.folder}{paths.folder(tenant, kind)}"
        )
        for version in page.get("Versions", [])
    ]

    def read(version: Mapping[str, Any]) -> Write:
        kept = client.get_object(Bucket=address.bucket, Key=version["Key"], VersionId=version["VersionId"])
        key = version["Key"].removeprefix(address.folder)
        return Write(version["LastModified"].timestamp(), key, kept["Body"].read())

    with ThreadPoolExecutor(CONCURRENT_READS) as readers:
        return list(readers.map(read, reversed(listed)))  # they are listed newest first
