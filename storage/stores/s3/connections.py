"""What one process needs to talk to S3: a client, threads to call it from, a manager for large uploads.

Connections do not survive a fork: the child would share the parent's sockets, and has none of its threads.
So they are made at the first use in each process, and a child never touches its parent's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.config import Config

from configs.settings import StorageSettings
from storage.stores.s3.failures import StoreMisconfigured

THREADS = 32
TRANSFER_THREADS = 8
MULTIPART_BYTES = 16 * 1024 * 1024
"""Files from this size on go up in parts, which are this large."""

_TRANSFERS = TransferConfig(
    multipart_threshold=MULTIPART_BYTES,
    multipart_chunksize=MULTIPART_BYTES,
    max_concurrency=TRANSFER_THREADS,
    preferred_transfer_client="classic",
)
_REGION_OF_OTHER_SERVERS = "us-east-1"  # they want one in the signature and accept any; this is the usual


class Connections:
    """Of one process. Safe from any thread. Making it is cheap: clients come with the first use of them."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._client: Any = None
        self._transfers: Any = None
        self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")

    @property
    def client(self) -> Any:
        """Makes each call once: `S3Store` repeats, because it knows what may be repeated.

        Raises StoreMisconfigured, and botocore's ProfileNotFound and the like.
        """
        with self._lock:
            if self._client is None:
                self._client = self._make_client(connections=THREADS, attempts=1)
            return self._client

    @property
    def transfers(self) -> Any:
        """The manager for uploads in parts, whose own client repeats a part that failed."""
        with self._lock:
            if self._transfers is None:
                client = self._make_client(connections=TRANSFER_THREADS, attempts=self._settings.max_attempts)
                self._transfers = create_transfer_manager(client, _TRANSFERS)
            return self._transfers

    def close(self) -> None:
        """Blocks until the calls in progress have ended."""
        self.executor.shutdown()
        if self._transfers is not None:
            self._transfers.shutdown()
            self._transfers.client.close()
        if self._client is not None:
            self._client.close()

    def _make_client(self, *, connections: int, attempts: int) -> Any:
        settings = self._settings
        if settings.ca_bundle is not None and not Path(settings.ca_bundle).is_file():
            raise StoreMisconfigured(f"storage.ca_bundle: there is no file {settings.ca_bundle}")
        session = boto3.Session(profile_name=settings.profile, region_name=settings.region)
        is_other_server = settings.endpoint_url is not None
        style = settings.addressing_style
        if style == "auto":
            style = "path" if is_other_server else "virtual"
        return session.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=session.region_name or (_REGION_OF_OTHER_SERVERS if is_other_server else None),
            verify=settings.ca_bundle,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": style},
                connect_timeout=settings.connect_timeout_s,
                read_timeout=settings.read_timeout_s,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=connections,
                # Older servers refuse, or store, the checksum trailer that newer clients send.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


class PerProcess:
    """The connections of whichever process asks."""

    def __init__(self, make: Callable[[], Connections]) -> None:
        self._make = make
        self._made: dict[int, Connections] = {}

    def here(self) -> Connections:
        """Without a lock, which a fork could copy while it is held: of two made at once, one is dropped unused."""
        pid = os.getpid()
        return self._made.get(pid) or self._made.setdefault(pid, self._make())

    def close(self) -> None:
        if opened := self._made.pop(os.getpid(), None):
            opened.close()
