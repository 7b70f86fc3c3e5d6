"""From whatever a request's code raises to the problem that is answered.

Routes raise the problems of `problems` (all named here too). The domain, the store, FastAPI and Starlette
raise their own errors, which `as_problem` knows. Everything else is a fault of the server: logged with its
traceback (`segue.errors`), answered with 500 and no word of the inside.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.audio.decode.errors import DISK_FULL_ERRNOS, AudioError, BadAudio, DiskFull, UnsupportedMedia
from deployments.engines.common import errors as engines
from serve_app.http.problems import (
    BadRequest,
    Conflict,
    FieldError,
    GatewayTimeout,
    IdempotencyMismatch,
    InsufficientStorage,
    MisdirectedHost,
    NotAcceptable,
    NotFound,
    PayloadTooLarge,
    Problem,
    RangeNotSatisfiable,
    TooManyRequests,
    Unavailable,
    Unprocessable,
    UnsupportedMediaType,
    problem_response,
    problem_responses,
    request_id_of,
)
from storage.domain.credentials import CredentialNotFound
from storage.domain.jobs import JobNotFound
from storage.domain.model import (
    ChainDeleted,
    ChainFull,
    ChainNotFound,
    DomainError,
    Fenced,
    NodeNotFound,
    Refused,
)
from storage.repositories.blobs import BlobCorrupt
from storage.stores.document import DocumentCorrupt
from storage.stores.object_store import BadKey, ObjectNotFound, StoreError, StoreFull, StoreUnavailable

__all__ = [
    "BadRequest",
    "ClientGone",
    "Conflict",
    "FieldError",
    "GatewayTimeout",
    "IdempotencyMismatch",
    "InsufficientStorage",
    "MisdirectedHost",
    "NotAcceptable",
    "NotFound",
    "PayloadTooLarge",
    "Problem",
    "RangeNotSatisfiable",
    "TooManyRequests",
    "Unavailable",
    "Unprocessable",
    "UnsupportedMediaType",
    "as_problem",
    "install_error_handlers",
    "problem_response",
    "problem_responses",
    "translate",
]

CLIENT_CLOSED_REQUEST: Final = 499  # nginx's number: nobody is left to read it, but logs count it
METHOD_NOT_ALLOWED: Final = 405
MAX_REPORTED_FIELDS: Final = 20
MAX_FIELD_NAME_CHARS: Final = 200

DAMAGED_RECORD: Final = (
    "This record is damaged, or was written by a newer version of Segue, and cannot be read. "
    "It can be deleted; an operator may be able to restore it."
)

_log = logging.getLogger("segue.errors")


class ClientGone(ClientDisconnect):
    """The client hung up in the middle of its request: there is nobody to answer."""


_TRANSLATIONS: Final[Mapping[type[Exception], Callable[[str], Problem]]] = {
    ChainNotFound: NotFound,
    ChainDeleted: NotFound,
    CredentialNotFound: NotFound,
    NodeNotFound: NotFound,
    JobNotFound: NotFound,
    Refused: Conflict,
    ChainFull: lambda said: Conflict(said, code="chain-full"),
    UnsupportedMedia: UnsupportedMediaType,
    DiskFull: lambda _: InsufficientStorage(),
    engines.BadRequest: Unprocessable,
    engines.EngineBusy: lambda said: TooManyRequests(f"{said}.", retry_after_s=5),
    engines.ModelLoading: lambda said: Unavailable(_sentence(said), code="model-loading", retry_after_s=10),
    engines.ModelUnavailable: lambda said: Unavailable(
        _sentence(said), code="model-unavailable", retry_after_s=30
    ),
    # What an engine says of its weights names files: that stays inside.
    engines.EngineError: lambda _: Unavailable(
        "The model cannot do this now. Try again soon.", retry_after_s=10
    ),
    Fenced: lambda _: Conflict("A newer attempt has taken this job over.", code="fenced"),
    # What the store says names keys and hosts: that stays inside.
    ObjectNotFound: lambda _: NotFound("There is no such object."),
    BadKey: lambda _: NotFound("There is no such object."),
    DocumentCorrupt: lambda _: Problem(DAMAGED_RECORD, code="record-damaged"),
    BlobCorrupt: lambda _: Problem(
        "The stored audio is damaged: it is no longer what was stored, and it is not given out.",
        code="audio-damaged",
    ),
    StoreFull: lambda _: Problem(
        "The server's storage is full. Nothing was changed; try again when there is space.",
        status=507,
        code="storage-full",
        headers={"Retry-After": "30"},
    ),
    StoreUnavailable: lambda _: Unavailable("The storage did not answer. Try again soon.", retry_after_s=2),
}


def _sentence(said: str) -> str:
    return f"{said[:1].upper()}{said[1:]}."


def translate(error: Exception) -> Problem | None:
    """The problem that a domain, audio or store error is to a client; None where it is a fault of the server."""
    for kind in type(error).__mro__:
        if kind in _TRANSLATIONS:
            return _TRANSLATIONS[kind](str(error))
    return None


def as_problem(error: Exception) -> Problem | None:
    """The problem behind any error; None where it is a fault of the server."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _invalid_request(error.errors())
        case HTTPException():
            return _from_framework(error)
        case BadAudio():
            return _bad_audio(error)
        case OSError() if error.errno in DISK_FULL_ERRNOS:
            return InsufficientStorage()
        case _:
            return translate(error)


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of `app` a problem, whatever raises it, in whatever order middleware is added."""
    for kind in (
        Problem,
        RequestValidationError,
        HTTPException,
        DomainError,
        AudioError,
        StoreError,
        engines.EngineError,
        OSError,
    ):
        app.add_exception_handler(kind, _answer)
    # For faults of the middleware itself, and of answers already begun, which must break the connection.
    app.add_exception_handler(Exception, _answer)
    # Innermost, so that a 500 still passes through CORS (a browser would hide it else) and the access log.
    app.user_middleware.append(Middleware(_LastResort))


async def _answer(request: Request, error: Exception) -> Response:
    problem = as_problem(error)
    if problem is not None and problem.status == METHOD_NOT_ALLOWED:
        problem.headers = {**problem.headers, "Allow": ", ".join(_allowed_methods(request))}
    if problem is None:
        _log.error(
            "request %s: %s %r failed",
            request_id_of(request.scope),
            request.method,
            request.scope["path"],
            exc_info=error,
        )
        problem = Problem("Something failed inside the server. Its log has more under this request id.")
    elif isinstance(error, StoreError) and problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("request %s: %s", request_id_of(request.scope), error)
    return problem_response(request.scope, problem)


def _allowed_methods(request: Request) -> list[str]:
    """Of all routes at this path; each of them alone knows only its own."""
    routes: Sequence[BaseRoute] = getattr(request.app.state, "routes", request.app.routes)
    found = {
        method
        for route in routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in getattr(route, "methods", None) or ()
    }
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


class _LastResort:
    """Answers what no handler was asked about, and ends quietly where the client is gone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            _log.info("request %s: the client hung up", request_id_of(scope))
            if not started:
                await Response(status_code=CLIENT_CLOSED_REQUEST)(scope, receive, send)
        except Exception as error:
            if started:
                raise
            response = await _answer(Request(scope), error)
            await response(scope, receive, send)


def _bad_audio(error: BadAudio) -> Problem:
    """A file of a known format that is damaged, or outside what this server takes."""
    code = f"audio-{error.code.value.replace('_', '-')}"
    return Unprocessable(error.detail, errors=[FieldError("file", error.detail)], code=code)


def _from_framework(error: HTTPException) -> Problem:
    """No such route, method not allowed, unreadable body."""
    said = str(error.detail)
    clearer = {
        "Not Found": "There is nothing at this path.",
        "Method Not Allowed": "This path does not take that method.",
    }
    return Problem(clearer.get(said, said), status=error.status_code, headers=error.headers)


def _invalid_request(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """The problem behind pydantic's list: 400 if the body is no JSON, else 422 with the fields named.

    Values are never repeated: they may be large, secret, or not JSON (NaN).
    """
    for error in errors:
        if error["type"] == "json_invalid":
            return BadRequest(_malformed(error), code="malformed-json")
    fields = [FieldError(_dotted(error["loc"]), _message(error)) for error in errors[:MAX_REPORTED_FIELDS]]
    first = f"{fields[0].field}: {fields[0].message}" if fields else "The request is not valid."
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Unprocessable(first + more, errors=fields, code="invalid-request")


def _malformed(error: Mapping[str, Any]) -> str:
    reason = error.get("ctx", {}).get("error", "it cannot be parsed")
    # json says where in the place of a field's name; pydantic says it in the reason.
    place = f" (character {error['loc'][-1]})" if isinstance(error["loc"][-1], int) else ""
    return f"The body is not valid JSON: {reason}{place}."


def _dotted(location: Sequence[str | int]) -> str:
    """`("body", "takes", 0)` -> `takes.0`; other places keep their name: `query.limit`."""
    parts = location[1:] if len(location) > 1 and location[0] == "body" else location
    return ".".join(str(part) for part in parts)[:MAX_FIELD_NAME_CHARS]


def _message(error: Mapping[str, Any]) -> str:
    limit = error.get("ctx", {}).get("max_length")
    if error["type"] in ("string_too_long", "too_long") and isinstance(error.get("input"), str):
        return f"may have at most {limit} characters"
    if error["type"] == "extra_forbidden":
        return "there is no such field; it is not permitted"
    return str(error["msg"]).removeprefix("Value error, ")
