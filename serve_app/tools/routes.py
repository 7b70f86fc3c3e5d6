"""The stateless tools at the root. Nothing is kept; hanging up cancels the work."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from deployments.stages.prompting import WISHES
from deployments.temporary import temporary_folder
from serve_app.access.callers import CallerWithTools
from serve_app.http.attendance import attended
from serve_app.http.dependencies import Configured, form_body, parse_form, service
from serve_app.http.multipart import ReceivedUpload, receive_upload
from serve_app.http.problems import problem_responses, request_id_of
from serve_app.tools.schemas import (
    AnalyzeTool,
    AnalyzeView,
    ComposeTool,
    ContinuedView,
    ContinueTool,
    GenerateTool,
    analyze_view,
)
from serve_app.tools.service import Clip, ContinueRequest, ToolService

Tools = Annotated[ToolService, service(ToolService)]

router = APIRouter(tags=["tools"])

WAV_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "a WAV"}
}


@router.post(
    "/analyze",
    response_model=AnalyzeView,
    openapi_extra=form_body(AnalyzeTool),
    responses=problem_responses(401, 404, 413, 415, 422, 429, 503, 504),
)
async def analyze(
    request: Request,
    caller: CallerWithTools,
    tools: Tools,
    settings: Configured,
) -> AnalyzeView:
    """Tempo, key, energy, loudness, emotion, style, melody and sections of a clip (part `file`; 30 MB and 30 s at
    most), and a prompt that would make such a one."""
    async with _upload(request, settings.tools.max_bytes) as received:
        wanted = parse_form(AnalyzeTool, {**request.query_params, **received.fields})
        work = tools.analyse(received, request_id_of(request.scope), wants_melody=wanted.melody)
        return analyze_view(await attended(request, work, settings.tools.deadline_s))


@router.post(
    "/generate",
    response_class=Response,
    responses={**WAV_ANSWER, **problem_responses(401, 422, 429, 503, 504)},
)
async def generate(
    wanted: GenerateTool,
    request: Request,
    caller: CallerWithTools,
    tools: Tools,
    settings: Configured,
) -> Response:
    """A clip made of words: a stereo WAV at 32 kHz, `duration` seconds and a faded tail of 0.3 s to loop with."""
    work = tools.generate(
        wanted.prompt,
        {"bpm": wanted.bpm, "key": wanted.key},
        wanted.duration,
        wanted.seed,
        request_id_of(request.scope),
    )
    return _clip_response(await attended(request, work, settings.tools.deadline_s))


@router.post(
    "/compose",
    response_class=Response,
    openapi_extra=form_body(ComposeTool),
    responses={**WAV_ANSWER, **problem_responses(401, 404, 413, 415, 422, 429, 503, 504)},
)
async def compose(
    request: Request,
    caller: CallerWithTools,
    tools: Tools,
    settings: Configured,
) -> Response:
    """A new clip as the given one (part `file`) sounds: it is analysed, and what was heard is the prompt. `bpm`,
    `key`, `mood`, `style` say it instead, `prompt` besides."""
    async with _upload(request, settings.tools.max_bytes) as received:
        wanted = parse_form(ComposeTool, {**request.query_params, **received.fields})
        work = tools.compose(
            received,
            wanted.prompt,
            {name: getattr(wanted, name) for name in WISHES},
            wanted.duration,
            wanted.seed,
            request_id_of(request.scope),
        )
        return _clip_response(await attended(request, work, settings.tools.deadline_s))


@router.post(
    "/continue",
    response_model=ContinuedView,
    responses=problem_responses(401, 403, 404, 413, 415, 422, 429, 503, 504),
)
async def carry_on(
    wanted: ContinueTool,
    request: Request,
    caller: CallerWithTools,
    tools: Tools,
    settings: Configured,
) -> ContinuedView:
    """Goes on from a file in the folder that this server shares, and writes what comes next beside it. With a
    melody model it follows the melody too. Where keys are configured, each tenant has the folder of its name in the
    shared one, and reaches no other."""
    work = tools.carry_on(
        ContinueRequest(**wanted.model_dump()), request_id_of(request.scope), caller.own_folder
    )
    done = await attended(request, work, settings.tools.deadline_s)
    return ContinuedView(audio_path=done.audio_path, duration_s=done.duration_s)


@asynccontextmanager
async def _upload(request: Request, max_bytes: int) -> AsyncIterator[ReceivedUpload]:
    with temporary_folder("spool") as folder:
        async with receive_upload(request, max_bytes=max_bytes, spool_dir=folder) as received:
            yield received


def _clip_response(clip: Clip) -> Response:
    headers = {
        "Content-Disposition": 'attachment; filename="segue.wav"',
        "Cache-Control": "no-store",
        "X-Segue-Prompt": quote(clip.prompt, safe=" ,.;:#'()/-"),
        "X-Segue-Seed": str(clip.seed),
        "X-Segue-Sample-Rate": str(clip.rate_hz),
        "X-Segue-Loop-Samples": str(clip.loop_samples),
    }
    if clip.adherence is not None:
        headers["X-Segue-Adherence"] = json.dumps(clip.adherence.to_record())
    return Response(clip.wav, headers=headers, media_type="application/octet-stream")
