"""One server over HTTP: requests that are retried where that is safe, files that are complete or not there."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

from segue_client.answers import R, Rejected, Unreachable, check, read_answer

T = TypeVar("T")

ATTEMPTS = 6
"""Over about 6 s: a proxy that was killed is back by then."""
FIRST_BACKOFF_S = 0.2
MAX_RETRY_AFTER_S = 60.0
# An upload is decoded, and an export may be waited for, before the answer's first byte.
_TIMEOUT = httpx.Timeout(connect=5.0, read=120.0, write=60.0, pool=5.0)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Connection:
    """A connection pool to one server; `key` goes with every request to it, and to no other it leads to.

    Lost connections, 503, 429 and a proxy's answer that nothing is there are retried, after the pause that the
    server asks for or with growing ones. That is safe: what creates work carries an Idempotency-Key, and the rest
    may be repeated anyway. Every method raises ClientError.
    """

    def __init__(
        self,
        url: str,
        transport: httpx.BaseTransport | None,
        sleep: Callable[[float], None] = time.sleep,
        key: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        try:
            host = httpx.URL(self.url).host
        except httpx.InvalidURL as error:
            raise Unreachable(url, str(error)) from error
        # A proxy from the environment has no business between this machine and itself.
        self.http = httpx.Client(
            base_url=self.url,
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=_TIMEOUT,
            transport=transport,
            trust_env=host not in _LOOPBACK,
        )
        self.sleep = sleep

    def ask(self, shape: type[R], method: str, path: str, **request: Any) -> R:
        """The answer's JSON as `shape`."""
        return self.retrying(lambda: read_answer(shape, self.http.request(method, path, **request)))

    def order(self, method: str, path: str) -> None:
        """A request whose answer has no body."""
        self.retrying(lambda: check(self.http.request(method, path)))

    def send_file(self, shape: type[R], path: str, file: Path, fields: dict[str, str]) -> R:
        """A form with the file and `fields`. Raises OSError if the file cannot be read."""
        key = new_key()

        def send() -> R:
            with file.open("rb") as handle:  # anew for each attempt, so that each sends all of it
                upload = {"file": (file.name, handle)}
                return read_answer(shape, self.http.post(path, headers=key, data=fields, files=upload))

        return self.retrying(send)

    def fetch(self, path: str, target: Path, params: dict[str, str] | None = None) -> None:
        """`target` is replaced once all of the file is here. Raises OSError if it cannot be written."""

        def fetch() -> None:
            with self.http.stream("GET", path, params=params, follow_redirects=True) as response:
                check(response)
                save(response, target)

        self.retrying(fetch)

    def retrying(self, operation: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                return operation()
            except (httpx.TransportError, Rejected) as error:
                failures += 1
                pause_s = self.pause_s(error, failures)
            self.sleep(pause_s)

    def pause_s(self, fault: httpx.TransportError | Rejected, failures: int) -> float:
        """How long to wait before the next attempt. Raises the fault, readable, if there is to be none."""
        backoff_s = FIRST_BACKOFF_S * 2.0 ** (failures - 1)
        if isinstance(fault, Rejected):
            pause_s = backoff_s if fault.retry_after_s is None else fault.retry_after_s
            if failures >= ATTEMPTS or not fault.is_passing or pause_s > MAX_RETRY_AFTER_S:
                raise fault
            return pause_s
        if failures >= ATTEMPTS or isinstance(fault, httpx.UnsupportedProtocol):
            raise Unreachable(self.url, str(fault) or type(fault).__name__) from fault
        return backoff_s


def new_key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def save(response: httpx.Response, target: Path) -> None:
    part = target.with_name(f".{target.name[:200]}.{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
        part.replace(target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        part.unlink(missing_ok=True)
