"""All files of some models into the hub's cache. Asks no network where the cache has everything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from huggingface_hub import constants

from deployments.engines.common.hub.cache import cached
from deployments.engines.common.hub.download import Downloader, RemoteFile
from deployments.engines.common.hub.errors import HubError
from deployments.engines.common.hub.needs import Repository, Weights


@dataclass(frozen=True, slots=True)
class Progress:
    """`total_bytes` counts the files that are known so far. `trouble` says what is waited for, if anything."""

    done_bytes: int = 0
    total_bytes: int = 0
    trouble: str = ""


def nothing_reported(progress: Progress) -> None:
    pass


def is_cached(weights: Weights) -> bool:
    """Whether a model can be loaded without the hub. Raises ModelUnavailable for a broken file."""
    return all(
        any(cached(repository.name, file) for file in alternatives)
        for repository in weights.repositories(_read_cached)
        for alternatives in repository.required
    )


def fetch(
    models: Iterable[Weights],
    report: Callable[[Progress], None] = nothing_reported,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Download what the cache does not have of the models' files; blocks. A call that is interrupted, or its
    process killed, is continued by the next one. Raises HubError, ModelUnavailable."""
    missing = [weights for weights in models if not is_cached(weights)]
    if not missing:
        return
    if constants.is_offline_mode():
        names = ", ".join(weights.model for weights in missing)
        raise HubError(
            f"the cache lacks files of {names}, and HF_HUB_OFFLINE forbids to download them: unset it for one "
            "start, or copy a filled cache to HF_HOME"
        )
    _Fetching(report, sleep).run(missing)


def _read_cached(repository: str, file: str, most_bytes: int | None) -> Path | None:
    path = cached(repository, file)
    is_small = path is not None and (most_bytes is None or path.stat().st_size < most_bytes)
    return path if is_small else None


class _Fetching:
    def __init__(self, report: Callable[[Progress], None], sleep: Callable[[float], None]) -> None:
        self._report = report
        self._present: dict[RemoteFile, int] = {}
        self._downloader = Downloader(self._follow, self._pause, sleep)
        self._known: dict[tuple[str, str], RemoteFile | None] = {}

    def run(self, models: Iterable[Weights]) -> None:
        """Small files and names first: all that can be wrong with them shows before the long download."""
        wanted = [file for weights in models for file in self._files(weights)]
        self._tell()
        for file in sorted(set(wanted), key=lambda file: file.size_bytes):
            if cached(file.repository, file.name) is None:
                self._downloader.fetch(file)

    def _files(self, weights: Weights) -> Iterator[RemoteFile]:
        for repository in weights.repositories(self._read):
            for name in repository.optional:
                if (file := self._look_up(repository.name, name)) is not None:
                    yield file
            yield from self._required(repository)

    def _required(self, repository: Repository) -> Iterator[RemoteFile]:
        for alternatives in repository.required:
            found = map(partial(self._look_up, repository.name), alternatives)
            file = next((file for file in found if file is not None), None)
            if file is None:
                raise HubError(
                    f"{repository.name} on the hub has no file {' or '.join(alternatives)}: it is not a model of "
                    "this kind"
                )
            yield file

    def _look_up(self, repository: str, name: str) -> RemoteFile | None:
        key = (repository, name)
        if key not in self._known:
            self._known[key] = file = self._downloader.look_up(repository, name)
            if file is not None:
                self._present[file] = file.present_bytes
        return self._known[key]

    def _read(self, repository: str, name: str, most_bytes: int | None) -> Path | None:
        file = self._look_up(repository, name)
        if file is None or (most_bytes is not None and file.size_bytes >= most_bytes):
            return None
        return cached(repository, name) or self._downloader.fetch(file)

    def _follow(self, file: RemoteFile, present_bytes: int) -> None:
        self._present[file] = present_bytes
        self._tell()

    def _pause(self, reason: str, pause_s: float) -> None:
        self._tell(f"{reason}; trying again in {pause_s:.0f} s")

    def _tell(self, trouble: str = "") -> None:
        total = sum(file.size_bytes for file in self._present)
        self._report(Progress(sum(self._present.values()), total, trouble))
