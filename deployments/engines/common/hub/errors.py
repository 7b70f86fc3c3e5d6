"""Errors of the hub in one sentence each, for a terminal, a health page and the error of a job."""

from __future__ import annotations

import errno

import httpx2
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from deployments.engines.common.errors import ModelUnavailable

TOO_MANY_REQUESTS = 429
_MAY_PASS = frozenset({408, 425, TOO_MANY_REQUESTS, 500, 502, 503, 504})


class HubError(ModelUnavailable):
    """The sentence says what to do, and names no path. `may_pass`: a later try may succeed unchanged.
    `retry_after_s` is what the hub asks for, if it does."""

    def __init__(self, sentence: str, *, may_pass: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(sentence)
        self.may_pass = may_pass
        self.retry_after_s = retry_after_s


class Damaged(Exception):
    """A downloaded file is not what the hub's checksum says."""


class CutOff(Exception):
    """The connection ended in the middle of a file, without an error."""


def as_hub_error(error: Exception, repository: str, file: str) -> HubError:
    """The error of fetching `file` of `repository`. Raises whatever is none of the hub's, the network's or the
    disk's."""
    what = f"{file} of {repository}"
    match error:
        case HubError():
            return error
        case OfflineModeIsEnabled():
            return HubError(
                f"{what} is not in the cache and HF_HUB_OFFLINE forbids to download it: unset it for one "
                "start, or copy a filled cache to HF_HOME"
            )
        case GatedRepoError():
            return HubError(
                f"the hub gives {repository} only to accounts that have accepted its terms: accept them on its "
                "page, then set HF_TOKEN to a token of that account"
            )
        case RepositoryNotFoundError():
            return HubError(
                f"the hub has no {repository}: the name is wrong, or the repository is private and needs HF_TOKEN"
            )
        case LocalEntryNotFoundError():  # how huggingface_hub says that it could not ask
            cause = error.__cause__
            return as_hub_error(cause if isinstance(cause, Exception) else CutOff(), repository, file)
        case EntryNotFoundError():
            return HubError(f"{repository} on the hub has no file {file}: it is not a model of this kind")
        case HfHubHTTPError():
            return _of_status(error, repository, what)
        case FileMetadataError():
            return HubError(
                "what answers in place of the hub is not a hub: check HF_ENDPOINT, the proxy, or sign in to the "
                "network",
                may_pass=True,
            )
        case httpx2.TimeoutException():
            return HubError(
                f"the hub does not answer ({what}): check the network and the proxy", may_pass=True
            )
        case httpx2.ProxyError():
            return HubError("the proxy refuses the connection to the hub: check HTTPS_PROXY", may_pass=True)
        case httpx2.ConnectError():
            return HubError("the hub cannot be reached: check the network, or HF_ENDPOINT", may_pass=True)
        case httpx2.TransportError() | CutOff():
            return HubError(f"the connection to the hub breaks off during {what}", may_pass=True)
        case Damaged():
            return HubError(f"{what} arrives damaged: a proxy may be changing it", may_pass=True)
        case OSError():
            return _of_disk(error, what)
        case _:
            raise error


def _of_status(error: HfHubHTTPError, repository: str, what: str) -> HubError:
    status = error.response.status_code
    may_pass = status in _MAY_PASS
    if status == TOO_MANY_REQUESTS:
        return HubError(
            "the hub limits requests from here: wait a few minutes, or set HF_TOKEN",
            may_pass=True,
            retry_after_s=_seconds(error.response.headers.get("Retry-After")),
        )
    if status in {401, 403}:
        return HubError(
            f"the hub refuses {repository} (status {status}): the name is wrong, the repository is private, or "
            "HF_TOKEN has no right to it"
        )
    if status >= 500:
        return HubError(f"the hub has a fault (status {status}): try again later", may_pass=may_pass)
    return HubError(f"the hub refuses {what} (status {status})", may_pass=may_pass)


def _of_disk(error: OSError, what: str) -> HubError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return HubError(f"the disk is full: {what} does not fit; make room, or set HF_HOME to another disk")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return HubError("the cache cannot be written: set HF_HOME to a folder of this user")
    return HubError(f"{what} cannot be stored: {error.strerror or type(error).__name__}", may_pass=True)


def _seconds(header: str | None) -> float | None:
    try:
        return float(header) if header is not None else None
    except ValueError:  # a date
        return None
