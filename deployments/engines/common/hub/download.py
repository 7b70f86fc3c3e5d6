"""One file of the hub into its cache, resumably.

huggingface_hub gives each download a file name of its own and deletes it at the end, so that what a killed process
had downloaded is lost. Here the partial file is `blobs/{etag}.incomplete`, which the next try continues by Range;
finding files, links and references are left to huggingface_hub. Files come over plain HTTP, not Xet, whose partial
files cannot be continued.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from typing import TypeVar

import filelock
import httpx2
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, FileMetadataError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils._fixes import WeakFileLock
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import get_session, hf_raise_for_status

from deployments.engines.common.hub.cache import cache_folder, cached
from deployments.engines.common.hub.errors import CutOff, Damaged, HubError, as_hub_error

logger = logging.getLogger("segue.hub")

Got = TypeVar("Got")

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Between tries that brought nothing; what arrives in between starts the row anew."""

LONGEST_PAUSE_S = 60.0
_LOCK_LOOK_S = 0.5
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the hub describes it. `etag` names its content; of large files it is their SHA-256."""

    repository: str
    name: str
    revision: str
    etag: str
    size_bytes: int

    @property
    def blob(self) -> Path:
        return (
            cache_folder()
            / repo_folder_name(repo_id=self.repository, repo_type="model")
            / "blobs"
            / self.etag
        )

    @property
    def partial(self) -> Path:
        return self.blob.with_name(f"{self.etag}.incomplete")

    @property
    def lock(self) -> Path:
        """The one that huggingface_hub takes for the same file."""
        folder = repo_folder_name(repo_id=self.repository, repo_type="model")
        return cache_folder() / ".locks" / folder / f"{self.etag}.lock"

    @property
    def present_bytes(self) -> int:
        """How much of it is on the disk, whoever downloaded it."""
        if self.blob.exists():
            return self.size_bytes
        try:
            return min(self.partial.stat().st_size, self.size_bytes)
        except FileNotFoundError:
            return 0


class Downloader:
    """`on_bytes(file, present_bytes)` follows a file, `on_pause(reason, pause_s)` tells of tries that failed; both
    are called in the caller's thread. `sleep` waits in between. Methods raise HubError."""

    def __init__(
        self,
        on_bytes: Callable[[RemoteFile, int], None],
        on_pause: Callable[[str, float], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._on_bytes = on_bytes
        self._on_pause = on_pause
        self._sleep = sleep

    def look_up(self, repository: str, name: str) -> RemoteFile | None:
        """What the hub says of a file of the branch `main`; None if the repository has no such file."""
        url = hf_hub_url(repository, name)

        def ask() -> RemoteFile | None:
            try:
                found = get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            except EntryNotFoundError:
                return None
            if found.commit_hash is None or found.etag is None or found.size is None:
                raise FileMetadataError
            return RemoteFile(repository, name, found.commit_hash, found.etag, found.size)

        return self._patiently(ask, repository, name, lambda: 0)

    def fetch(self, file: RemoteFile) -> Path:
        """Download what is missing of a file, and enter it in the cache."""

        def attempt() -> None:
            with self._locked(file):
                _remove_orphans(file)
                if not file.blob.exists():
                    self._continue(file)

        self._patiently(attempt, file.repository, file.name, lambda: file.present_bytes)
        self._on_bytes(file, file.size_bytes)
        # With the content there, this only writes the reference and the link.
        self._patiently(
            lambda: hf_hub_download(file.repository, file.name), file.repository, file.name, lambda: 0
        )
        path = cached(file.repository, file.name)
        if path is None:
            raise HubError(f"{file.name} of {file.repository} changes on the hub right now", may_pass=True)
        return path

    def _patiently(
        self, attempt: Callable[[], Got], repository: str, name: str, present_bytes: Callable[[], int]
    ) -> Got:
        failures = 0
        before = present_bytes()
        while True:
            try:
                return attempt()
            except Exception as error:
                hub_error = as_hub_error(error, repository, name)
                now = present_bytes()
                failures = 1 if now > before else failures + 1
                before = now
                if not hub_error.may_pass or failures > len(PAUSES_S):
                    raise hub_error from error
                pause_s = max(PAUSES_S[failures - 1], min(hub_error.retry_after_s or 0.0, LONGEST_PAUSE_S))
                logger.info("%s; trying again in %.0f s (%r)", hub_error, pause_s, error)
                self._on_pause(str(hub_error), pause_s)
                self._sleep(pause_s)

    @contextmanager
    def _locked(self, file: RemoteFile) -> Iterator[None]:
        """Alone with a file. Another process that downloads it meanwhile is followed."""
        file.lock.parent.mkdir(parents=True, exist_ok=True)
        file.blob.parent.mkdir(parents=True, exist_ok=True)
        while True:
            lock = WeakFileLock(file.lock, timeout=_LOCK_LOOK_S)
            try:
                lock.__enter__()
            except filelock.Timeout:
                self._on_bytes(file, file.present_bytes)
                continue
            try:
                yield
            finally:
                lock.__exit__(None, None, None)
            return

    def _continue(self, file: RemoteFile) -> None:
        have = file.present_bytes
        missing = file.size_bytes - have
        if missing > shutil.disk_usage(file.blob.parent).free:
            raise OSError(ENOSPC, "no space")
        self._on_bytes(file, have)
        if missing or not file.partial.exists():
            self._receive(file, have)
        if _SHA256.fullmatch(file.etag) and _sha256(file.partial) != file.etag:
            file.partial.unlink()
            raise Damaged
        file.partial.replace(file.blob)

    def _receive(self, file: RemoteFile, have: int) -> None:
        headers = build_hf_headers() | {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        url = hf_hub_url(file.repository, file.name, revision=file.revision)
        with get_session().stream(
            "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, follow_redirects=True
        ) as response:
            hf_raise_for_status(response)
            begins_anew = response.status_code == httpx2.codes.OK
            with file.partial.open("wb" if begins_anew else "ab") as partial:
                present = partial.tell() if not begins_anew else 0
                for chunk in response.iter_bytes():
                    partial.write(chunk)
                    present += len(chunk)
                    self._on_bytes(file, present)
        if present > file.size_bytes:
            file.partial.unlink()
            raise Damaged
        if present < file.size_bytes:
            raise CutOff


def _remove_orphans(file: RemoteFile) -> None:
    """What killed downloads of huggingface_hub's left of this file: they hold the lock while they live, and never
    continue what another began."""
    for orphan in file.blob.parent.glob(f"{file.etag}.*.incomplete"):
        orphan.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
