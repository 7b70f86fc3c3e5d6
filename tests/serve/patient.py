"""HTTP as a frontend does it that expects processes to die behind the proxy: it asks until it is answered."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

PATIENCE_S = 180.0
HEARING_S = 30.0
PAUSE_S = 0.3


class PatientClient:
    """Asking again is safe: a POST that makes work needs a `key`. `unanswered` counts why it had to."""

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout_s, trust_env=False)
        self._timeout_s = timeout_s
        self.unanswered: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        first_timeout_s: float | None = None,
        **request: Any,
    ) -> httpx.Response:
        """Segue's own answer, a refusal too. `first_timeout_s` is for who hangs up on purpose.

        Raises TimeoutError if there is none in PATIENCE_S.
        """
        all_headers = {**(headers or {}), **({} if key is None else {"Idempotency-Key": key})}
        deadline_s = time.monotonic() + PATIENCE_S
        timeout_s, why = first_timeout_s or self._timeout_s, ""
        while time.monotonic() < deadline_s:
            try:
                answer = self._http.request(method, path, headers=all_headers, timeout=timeout_s, **request)
            except httpx.TransportError as error:
                why = type(error).__name__
            else:
                if _is_final(answer):
                    return answer
                why = f"{answer.status_code} {_kind_of(answer)}"
            self.unanswered[why] += 1
            timeout_s = self._timeout_s
            time.sleep(PAUSE_S)
        raise TimeoutError(f"{method} {path}: no answer in {PATIENCE_S:g} s, last {why}")

    def hear(self, path: str) -> bytes | None:
        """A file that may grow, and break off, while it is read: it is asked for again from there.

        None if Segue refuses the rest, or nothing more comes in HEARING_S.
        """
        got, heard_s = b"", time.monotonic()
        while time.monotonic() - heard_s < HEARING_S:
            headers = {"Range": f"bytes={len(got)}-"} if got else {}
            try:
                with self._http.stream("GET", path, headers=headers, timeout=HEARING_S) as answer:
                    if answer.is_success:
                        got = got if answer.status_code == httpx.codes.PARTIAL_CONTENT else b""
                        for chunk in answer.iter_bytes():
                            got, heard_s = got + chunk, time.monotonic()
                        return got
                    answer.read()
                    if _is_final(answer):
                        return None
                    why = f"{answer.status_code} {_kind_of(answer)}"
            except httpx.TransportError as error:
                why = type(error).__name__
            self.unanswered[why] += 1
            time.sleep(PAUSE_S)
        return None

    def get(self, path: str) -> Any:
        """The JSON of a 200. Raises AssertionError for another answer."""
        return self.told(self.ask("GET", path), 200)

    @staticmethod
    def told(answer: httpx.Response, *statuses: int) -> Any:
        """The JSON of an answer of these statuses. Raises AssertionError for another."""
        assert answer.status_code in statuses, f"{answer.request.url}: {answer.status_code} {answer.text}"
        return answer.json()


def _is_final(answer: httpx.Response) -> bool:
    """Whether Segue said so, and not the proxy for want of a replica; and not "too much now"."""
    if answer.status_code >= 500 or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return False
    return answer.is_success or "problem+json" in answer.headers.get("content-type", "")


def _kind_of(answer: httpx.Response) -> str:
    return answer.headers.get("content-type", "").partition(";")[0] or "nothing"
