"""The stores that are measured: a local folder, ministack, and the S3 server that the environment names.

That one is named by SEGUE_TEST_S3_ENDPOINT, its keys, and SEGUE_TEST_S3_NAME for people; `scripts/ceph-rgw run`
sets them all. Each place is new and is emptied at the end.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

from configs.settings import StorageSettings
from tests.storage.stores.s3_servers import S3Server, ministack, named_server


class Kind(StrEnum):
    MEMORY = "memory"
    LOCAL_FOLDER = "folder"
    MINISTACK = "ministack"
    NAMED = "s3"


@dataclass(frozen=True, slots=True)
class Place:
    """Where documents and blobs are kept; `environment` has the keys that a process needs there."""

    name: str
    settings: StorageSettings
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_s3(self) -> bool:
        return self.settings.endpoint_url is not None


def s3_kinds() -> tuple[Kind, ...]:
    """ministack, and the server of the environment if it names one."""
    return (Kind.MINISTACK,) if named_server() is None else (Kind.MINISTACK, Kind.NAMED)


@contextmanager
def place(kind: Kind) -> Iterator[Place]:
    """A place of that kind, for as long as it is needed. Raises ValueError where the environment names none."""
    with ExitStack() as stack:
        match kind:
            case Kind.MEMORY:
                yield Place("memory", StorageSettings(url="memory:"))
            case Kind.LOCAL_FOLDER:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-bench-"))
                yield Place("local folder", StorageSettings(url=f"file:{folder}"))
            case Kind.MINISTACK:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-bench-"))
                server = stack.enter_context(ministack(Path(folder)))
                yield stack.enter_context(_bucket(f"ministack {version('ministack')}", server))
            case Kind.NAMED:
                named = named_server()
                if named is None:
                    raise ValueError("SEGUE_TEST_S3_ENDPOINT names no server: try `scripts/ceph-rgw run ...`")
                server = stack.enter_context(named)
                name = os.environ.get("SEGUE_TEST_S3_NAME", server.endpoint_url)
                yield stack.enter_context(_bucket(name, server))


@contextmanager
def _bucket(name: str, server: S3Server) -> Iterator[Place]:
    bucket = f"segue-bench-{secrets.token_hex(6)}"
    settings = StorageSettings(url=f"s3://{bucket}", endpoint_url=server.endpoint_url)
    with closing(server.client()) as client:
        client.create_bucket(Bucket=bucket)
        try:
            yield Place(name, settings, server.environment())
        finally:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                for entry in page.get("Contents", ()):
                    client.delete_object(Bucket=bucket, Key=entry["Key"])
            client.delete_bucket(Bucket=bucket)
