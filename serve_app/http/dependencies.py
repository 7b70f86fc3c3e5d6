"""What several routes share: dependencies and forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from configs.settings import Settings
from serve_app.http.fields import FROM_TEXT, ProgressOf

_Form = TypeVar("_Form", bound=BaseModel)
_Service = TypeVar("_Service")


def service(kind: type[_Service]) -> Any:
    """A route's dependency: the application's one service of this type (`wiring` puts it there)."""

    async def find(request: Request) -> _Service:
        """Async for the same reason as `access.current_caller`."""
        found: _Service = request.app.state.services[kind]
        return found

    return Depends(find)


async def _progress_of(request: Request) -> ProgressOf:
    found: ProgressOf = request.app.state.progress_of
    return found


Configured = Annotated[Settings, service(Settings)]
Progress = Annotated[ProgressOf, Depends(_progress_of)]
"""How far unfinished work is."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Makes a repetition of this request find the first one's work, for 24 h",
    ),
]

Cursor = Annotated[
    str | None,
    Query(max_length=100, pattern=r"^[0-9]{13}-[A-Za-z0-9_-]+$", description="From the page before"),
]
Limit = Annotated[int, Query(ge=1, le=200)]


def form_body(form: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI part of a form that the route reads by itself; `api` has its schema."""
    content = {"multipart/form-data": {"schema": {"$ref": f"#/components/schemas/{form.__name__}"}}}
    return {"requestBody": {"required": True, "content": content}}


def parse_form(form: type[_Form], fields: Mapping[str, Any]) -> _Form:
    """Empty fields count as left out: browsers send them. Raises RequestValidationError."""
    try:
        given = {name: value for name, value in fields.items() if value != ""}
        return form.model_validate(given, context=FROM_TEXT)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
