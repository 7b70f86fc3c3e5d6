"""Events of chains and of jobs, as they happen."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request

from serve_app.access.callers import CurrentCaller
from serve_app.events.streams import EventStreams
from serve_app.http.dependencies import service
from serve_app.http.problems import problem_responses
from serve_app.http.sse import EventStreamResponse, last_event_id
from serve_app.http.streaming import started

Streams = Annotated[EventStreams, service(EventStreams)]

router = APIRouter()


@router.get(
    "/v1/chains/{chain_id}/events",
    tags=["chains"],
    status_code=200,
    response_class=EventStreamResponse,
    responses=problem_responses(404),
)
async def chain_events(
    chain_id: str,
    request: Request,
    caller: CurrentCaller,
    streams: Streams,
    last_event_id_header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    last_event_id_query: Annotated[str | None, Query(alias="last_event_id")] = None,
) -> EventStreamResponse:
    """`snapshot`, then `node` (upserts), `chain` (the last of a change, with the id to resume from) and
    `progress`."""
    frames = streams.chain(caller.tenant, chain_id, last_event_id(request))
    return EventStreamResponse(await started(frames))


@router.get(
    "/v1/jobs/{job_id}/events",
    tags=["jobs"],
    status_code=200,
    response_class=EventStreamResponse,
    responses=problem_responses(404),
)
async def job_events(job_id: str, caller: CurrentCaller, streams: Streams) -> EventStreamResponse:
    """`job` when its state changes and `progress` in between; ends with the job."""
    return EventStreamResponse(await started(streams.job(caller.tenant, job_id)))
