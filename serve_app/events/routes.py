"""Events of a tenant, of chains and of jobs, as they happen."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request

from serve_app.access.callers import CurrentCaller
from serve_app.events.streams import EventStreams
from serve_app.events.tenant_streams import Place, TenantStreams
from serve_app.http.dependencies import service
from serve_app.http.problems import problem_responses
from serve_app.http.sse import EventStreamResponse, last_event_id
from serve_app.http.streaming import started

Streams = Annotated[EventStreams, service(EventStreams)]
Tenants = Annotated[TenantStreams, service(TenantStreams)]

router = APIRouter()


@router.get(
    "/v1/events",
    tags=["system"],
    status_code=200,
    response_class=EventStreamResponse,
    responses=problem_responses(404),
)
async def tenant_events(
    caller: CurrentCaller,
    streams: Tenants,
    chain: Annotated[str | None, Query(max_length=200, description="the nodes of this chain, too")] = None,
    last_event_id_header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    last_event_id_query: Annotated[str | None, Query(alias="last_event_id")] = None,
) -> EventStreamResponse:
    """All that happens to the caller's chains and jobs: `snapshot`, then `chain`, `chain_deleted`, `job` and
    `progress`. With `?chain=`, also `open` (that chain as it is) and `node` (upserts, before their `chain`). It
    resumes from `Last-Event-ID` where that is known here, else it begins with a snapshot."""
    after = Place.parse(last_event_id_header or last_event_id_query or "")
    return EventStreamResponse(await started(streams.stream(caller.tenant, chain, after)))


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
