"""Every error answer: `application/problem+json` (RFC 9457).

A body has `type`, `title`, `status`, `detail`, `request_id`, and the members a problem adds. `type` is
stable: programs compare it (or the status), people read `detail`. No answer names a path of the server.

Problem
├── BadRequest 400            the request cannot be read
├── Unauthorized 401         WWW-Authenticate
├── Forbidden 403
├── NotFound 404
├── NotAcceptable 406
├── RequestTimeout 408        the body did not arrive in time
├── Conflict 409              the state forbids it
├── Gone 410
├── PayloadTooLarge 413       `limit_bytes`
├── UnsupportedMediaType 415
├── RangeNotSatisfiable 416   Content-Range
├── MisdirectedHost 421
├── Unprocessable 422         `errors: [{field, message}]`
│   └── IdempotencyMismatch
├── TooManyRequests 429       Retry-After
├── Unavailable 503           Retry-After
├── GatewayTimeout 504
└── InsufficientStorage 507   Retry-After
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Scope

MEDIA_TYPE: Final = "application/problem+json"


PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "title": "Problem",
    "type": "object",
    "description": "What every error answers (RFC 9457). Some problems add members of their own.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "stable: programs compare it"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "for people"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "of a 422: the fields that are wrong",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                "required": ["field", "message"],
            },
        },
        "limit_bytes": {"type": "integer", "description": "of a 413"},
    },
    "required": ["type", "title", "status", "detail", "request_id"],
}
"""`components.schemas.Problem` of the OpenAPI document."""


class Problem(Exception):
    """An error that is answered as it stands.

    `code` is the last part of `type`; it and `title` follow from the status where a class names neither.
    `members` are added to the body and may not replace its own; `headers` go out with the answer.
    """

    status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    title: str = ""
    code: str = ""

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str | None = None,
        title: str | None = None,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = int(status or self.status)
        self.title = title or self.title or _phrase(self.status)
        self.code = code or self.code or re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")
        self.headers = dict(headers or {})
        self.members = dict(members or {})

    @property
    def type(self) -> str:
        return f"urn:segue:problem:{self.code}"


class BadRequest(Problem):
    status = HTTPStatus.BAD_REQUEST


class Unauthorized(Problem):
    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(Problem):
    status = HTTPStatus.FORBIDDEN


class NotFound(Problem):
    status = HTTPStatus.NOT_FOUND


class NotAcceptable(Problem):
    status = HTTPStatus.NOT_ACCEPTABLE


class RequestTimeout(Problem):
    status = HTTPStatus.REQUEST_TIMEOUT


class Conflict(Problem):
    status = HTTPStatus.CONFLICT


class Gone(Problem):
    status = HTTPStatus.GONE


class PayloadTooLarge(Problem):
    """`what` (the start of a sentence) is over `limit_bytes`."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    def __init__(self, limit_bytes: int, *, what: str = "The file") -> None:
        super().__init__(
            f"{what} is over the limit of {_megabytes(limit_bytes)}.", members={"limit_bytes": limit_bytes}
        )


class UnsupportedMediaType(Problem):
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class RangeNotSatisfiable(Problem):
    """The asked range begins after the end of the `size_bytes` that there are."""

    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"The range is outside the {size_bytes} bytes that there are.",
            headers={"Content-Range": f"bytes */{size_bytes}"},
        )


class MisdirectedHost(Problem):
    status = HTTPStatus.MISDIRECTED_REQUEST


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field; `field` is a dotted path, such as `takes` or `query.limit`."""

    field: str
    message: str


class Unprocessable(Problem):
    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, detail: str, *, errors: Iterable[FieldError] = (), code: str | None = None) -> None:
        super().__init__(detail, code=code, members={"errors": [asdict(error) for error in errors]})


class IdempotencyMismatch(Unprocessable):
    """An `Idempotency-Key` came again with another body."""

    title = "Idempotency Key Reused"
    code = "idempotency-mismatch"


class TooManyRequests(Problem):
    """`headers` are more of them: what the limit is, where the client may know."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(
        self,
        detail: str,
        *,
        retry_after_s: float,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            detail, code=code, headers={**_retry_after(retry_after_s), **(headers or {})}, members=members
        )


class Unavailable(Problem):
    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, detail: str, *, retry_after_s: float = 5.0, code: str | None = None) -> None:
        super().__init__(detail, code=code, headers=_retry_after(retry_after_s))


class GatewayTimeout(Problem):
    status = HTTPStatus.GATEWAY_TIMEOUT


class InsufficientStorage(Problem):
    """The server's own disk is full, for the moment: others' work may leave it."""

    status = HTTPStatus.INSUFFICIENT_STORAGE

    def __init__(self, *, retry_after_s: float = 60.0) -> None:
        super().__init__(
            "The server has no room on its disk for this now. Try again later.",
            headers=_retry_after(retry_after_s),
        )


def request_id_of(scope: Scope) -> str:
    """The request's id (`RequestContextMiddleware` sets it); a new one where none was set."""
    state: dict[str, Any] = scope.setdefault("state", {})
    return str(state.setdefault("request_id", uuid.uuid4().hex))


def problem_response(scope: Scope, problem: Problem) -> Response:
    """The answer to the request of `scope`."""
    # ASCII: a client's own text may hold half a surrogate pair, which UTF-8 cannot carry.
    content = json.dumps(_body(problem, request_id_of(scope)), separators=(",", ":"), allow_nan=False)
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(content, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with these problems, for OpenAPI: schema and example.
    `serve_app.openapi` adds those that come from around a route."""
    return {status: _described(_EXAMPLES.get(status) or Problem("…", status=status)) for status in statuses}


def _phrase(status: int) -> str:
    """HTTP's words for a status; those of RFC 9110 where Python's are older."""
    newer = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
    try:
        return newer.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"


def _body(problem: Problem, request_id: str) -> dict[str, Any]:
    return {
        **problem.members,
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "request_id": request_id,
    }


def _described(problem: Problem) -> dict[str, Any]:
    example = _body(problem, "5f0c3a9e7b1d4c62a8e4f7d9b0c1e2a3")
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": problem.title, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def _megabytes(size_bytes: int) -> str:
    per_unit, unit = (2**20, "MiB") if size_bytes % 2**20 == 0 else (10**6, "MB")
    shown = f"{size_bytes / per_unit:.2f}".rstrip("0").rstrip(".")
    return f"{size_bytes} bytes" if shown == "0" else f"{shown} {unit} ({size_bytes} bytes)"


_EXAMPLES: Final[Mapping[int, Problem]] = {
    problem.status: problem
    for problem in (
        BadRequest("The body is not valid JSON: Expecting value (character 12)."),
        Unauthorized("This key is not known here."),
        Forbidden("Stems need the tier 'paid'; this key is of the tier 'free'.", code="tier"),
        Gone("The outputs of this job have expired."),
        NotFound("no chain 9f3c"),
        NotAcceptable("There is no such audio format."),
        RequestTimeout("The body did not arrive in time."),
        Conflict("the parent is not ready", code="not-ready"),
        PayloadTooLarge(100 * 2**20),
        UnsupportedMediaType("The body has to be multipart/form-data."),
        RangeNotSatisfiable(1024),
        MisdirectedHost("This server does not answer for that host."),
        Unprocessable(
            "duration_s: Input should be less than or equal to 30",
            errors=[FieldError("duration_s", "Input should be less than or equal to 30")],
            code="invalid-request",
        ),
        TooManyRequests("Too many jobs are under way.", retry_after_s=5),
        Unavailable("The storage did not answer. Try again soon."),
        GatewayTimeout("The model did not finish in time."),
        InsufficientStorage(),
        Problem("Something failed inside the server. Its log has more under this request id."),
    )
}
