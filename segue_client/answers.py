"""What Segue's server answers, as far as a client reads it, and what can go wrong.

Shapes are the documented ones. Fields that this client does not know are left alone, so a newer server does
no harm.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

R = TypeVar("R", bound=BaseModel)

_NOT_NOW = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)


class ClientError(Exception):
    """Something that the person at the keyboard should read.

    ClientError
    ├── Unreachable    no server answers there
    ├── Rejected       the server answered with an error (problem+json)
    ├── BadAnswer      what answered does not speak as Segue does
    ├── WorkFailed     the server took the work, but it failed or was cancelled
    └── NoSuchId       an id, or the beginning of one, that names nothing, or several things
    """


class Unreachable(ClientError):
    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no answer from {url}: {reason}")
        self.url = url


class Rejected(ClientError):
    """`retry_after_s` is the server's wish, if it sent one in seconds. `is_passing`: asking again may help.

    A 404, or an error of 500 or more, that is no problem+json is the word of Serve's proxy: it knows of no
    application yet, or whoever was asked has died.
    """

    def __init__(self, response: httpx.Response) -> None:
        problem = _problem(response)
        self.status = response.status_code
        self.title = str(problem.get("title") or response.reason_phrase or f"HTTP {self.status}")
        self.detail = str(problem.get("detail") or "")
        self.request_id: str | None = problem.get("request_id")
        from_proxy = not problem and (self.status == httpx.codes.NOT_FOUND or self.status >= 500)
        self.is_passing = from_proxy or self.status in _NOT_NOW
        wish = response.headers.get("retry-after", "")
        self.retry_after_s = float(wish) if wish.isdecimal() else None
        super().__init__(f"{self.title}: {self.detail}" if self.detail else self.title)


class BadAnswer(ClientError):
    pass


class WorkFailed(ClientError):
    pass


class NoSuchId(ClientError):
    pass


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Failure(Answer):
    code: str = ""
    detail: str = ""


class Node(Answer):
    """One piece of new audio. `progress` is 0..1 while it is being made."""

    id: str
    parent_id: str | None
    status: str
    decision: str
    duration_s: float
    prompt: str | None = None
    seed: int | None = None
    job_id: str | None = None
    progress: float | None = None
    error: Failure | None = None

    @property
    def is_finished(self) -> bool:
        return self.status in ("ready", "failed", "cancelled")


class ChainSummary(Answer):
    id: str
    title: str
    version: int
    updated_at: str


class Chain(ChainSummary):
    """A tree of nodes; `spine` has the committed path's ids from the root on."""

    root_id: str
    nodes: tuple[Node, ...]
    spine: tuple[str, ...]

    def node(self, start: str) -> Node:
        """The node whose id is `start`, or the only one whose id begins so. Raises NoSuchId."""
        wanted = matching(start, [node.id for node in self.nodes], "node")
        return next(node for node in self.nodes if node.id == wanted)


class ChainPage(Answer):
    chains: tuple[ChainSummary, ...]
    cursor: str | None = None


class Branch(Answer):
    """What a branch request began: `job_ids[i]` makes `nodes[i]`."""

    nodes: tuple[Node, ...]
    job_ids: tuple[str, ...]
    notices: tuple[str, ...] = ()


class Accepted(Answer):
    job_id: str


class Job(Answer):
    id: str
    state: str
    progress: float | None = None
    result: dict[str, Any] | None = None
    error: Failure | None = None


class Stem(Answer):
    name: str


class Stems(Answer):
    """`stems` are those of the newest separation that is ready."""

    stems: tuple[Stem, ...]


class Analysis(Answer):
    """What the newest analysis of a node says; `analysis` as the server's documentation has it."""

    status: str
    analysis: dict[str, Any] | None


class Model(Answer):
    name: str
    licence: str | None = None
    default: bool = False
    status: str | None = None
    detail: str = ""


class ModelList(Answer):
    models: tuple[Model, ...]


def check(response: httpx.Response) -> None:
    """Raises Rejected unless the answer is a success; reads a streamed body for what it says."""
    if not response.is_success:
        response.read()
        raise Rejected(response)


def read_answer(shape: type[R], response: httpx.Response) -> R:
    """The answer's JSON as `shape`. Raises Rejected, BadAnswer."""
    check(response)
    try:
        return shape.model_validate_json(response.content)
    except ValidationError as error:
        where = response.url.copy_with(query=None)
        raise BadAnswer(f"what answers at {where} does not speak as Segue does") from error


def matching(start: str, ids: Collection[str], noun: str) -> str:
    """The id that is `start`, or the only one that begins with it. Raises NoSuchId."""
    if start in ids:
        return start
    found = [candidate for candidate in ids if start and candidate.startswith(start)]
    if len(found) > 1:
        raise NoSuchId(f"{start} could be {len(found)} {noun}s: {', '.join(sorted(found)[:5])}")
    if not found:
        raise NoSuchId(f"no {noun} {start}")
    return found[0]


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
