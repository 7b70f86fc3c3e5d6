"""The OpenAPI document: what routes declare, and what every request may meet on its way to them.

Errors that a route raises itself (404, 409, 410, 416, 429, ...) stand beside the route. Everything that comes from
middleware, from dependencies, from the parsing of the request, from the storage or from a fault is added here, for
every operation alike, so that no route has to repeat it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from serve_app.access.callers import Requires, current_caller, known_caller
from serve_app.http.middleware import CrossSiteMiddleware
from serve_app.http.problems import MEDIA_TYPE, PROBLEM_SCHEMA, problem_responses

BEARER: Final = "bearer"
API_KEY: Final = "apiKey"
SECURITY_SCHEMES: Final[dict[str, dict[str, str]]] = {
    BEARER: {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"},
    API_KEY: {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}

_EVERYWHERE: Final = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR}
)
"""The Host header is missing or another server's; something fails inside."""

_FROM_STORAGE: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE})
_FROM_LIMITS: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS})
_FROM_BODIES: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
_FASTAPIS_OWN: Final = ("HTTPValidationError", "ValidationError")


def complete(
    document: dict[str, Any], routes: Sequence[BaseRoute], *, keys_are_required: bool
) -> dict[str, Any]:
    """The same document with the problems that each operation may answer with, and with the ways to send a key.

    `keys_are_required` False: this server has no keys, so a request may come without one.
    """
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _FASTAPIS_OWN:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM_SCHEMA
    components["securitySchemes"] = SECURITY_SCHEMES
    for route in routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            _describe_answers(operation, _raised_around(route, method, operation))
            security = _security(route, keys_are_required=keys_are_required)
            if security:
                operation["security"] = security
    return document


def _describe_answers(operation: dict[str, Any], raised: frozenset[int]) -> None:
    answers = operation["responses"]
    validation = answers.get(str(HTTPStatus.UNPROCESSABLE_ENTITY.value), {})
    if MEDIA_TYPE not in validation.get("content", {}):  # FastAPI's own
        answers.pop(str(HTTPStatus.UNPROCESSABLE_ENTITY.value), None)
    for status, described in problem_responses(*sorted(raised)).items():
        answers.setdefault(str(status), described)
    if "206" in answers:
        answers.setdefault("304", {"description": "Not modified: the file is the one of `If-None-Match`"})
        content = {
            kind: {"schema": {"type": "string", "format": "binary"}} for kind in answers["200"]["content"]
        }
        answers["206"] = {"description": "The range asked for", "content": content}
    operation["responses"] = dict(sorted(answers.items()))


def _raised_around(route: APIRoute, method: str, operation: dict[str, Any]) -> frozenset[int]:
    """The statuses of the problems that are raised before the route's own code, or below all routes' code."""
    found: set[int] = set(_EVERYWHERE)
    calls = set(_calls(route.dependant))
    if current_caller in calls:
        # Forbidden: a key whose tier the server does not have any more.
        found |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, *_FROM_STORAGE, *_FROM_LIMITS}
    if any(isinstance(call, Requires) for call in calls) or method not in CrossSiteMiddleware.SAFE_METHODS:
        found.add(HTTPStatus.FORBIDDEN)
    if "requestBody" in operation:
        found |= _FROM_BODIES
    if any(parameter["in"] != "path" for parameter in operation.get("parameters", ())):
        found.add(HTTPStatus.UNPROCESSABLE_ENTITY)
    return frozenset(int(status) for status in found)


def _security(route: APIRoute, *, keys_are_required: bool) -> list[dict[str, list[str]]]:
    calls = set(_calls(route.dependant))
    ways: list[dict[str, list[str]]] = [{BEARER: []}, {API_KEY: []}]
    if current_caller in calls and keys_are_required:
        return ways
    return [{}, *ways] if calls & {current_caller, known_caller} else []


def _calls(dependant: Dependant) -> Iterator[object]:
    if dependant.call is not None:
        yield dependant.call
    for inner in dependant.dependencies:
        yield from _calls(inner)


def install_openapi(app: FastAPI, *, keys_are_required: bool) -> None:
    """Make `app.openapi` answer with the complete document. All routes have to be in `app.state.routes`."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            complete(generate(), app.state.routes, keys_are_required=keys_are_required)
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]
