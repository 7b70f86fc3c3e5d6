"""The stateless tools, in the shapes that their existing clients expect."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BaseModel, Field

from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.pitch.keys import parse_key
from serve_app.http.fields import Flag, Integer, Number, Request, Text
from storage.domain.seeds import SEED_COUNT

MAX_PROMPT_CHARS = 1000


def _key(text: str) -> str:
    parsed = parse_key(text)
    if parsed is None:
        raise ValueError("must be a key such as C, F# minor or Bbm")
    return str(parsed)


Prompt = Annotated[Text, Field(max_length=MAX_PROMPT_CHARS)]
Bpm = Annotated[Number, Field(ge=30, le=300)]
KeyText = Annotated[Text, Field(max_length=20, examples=["F# minor"]), AfterValidator(_key)]
Duration = Annotated[
    Number,
    Field(
        ge=1,
        le=30,
        validation_alias=AliasChoices("duration", "duration_s"),
        description="seconds, without the tail of 0.3 s; `duration_s` says the same",
    ),
]
Seed = Annotated[Integer, Field(ge=0, lt=SEED_COUNT)]
Words = Annotated[Text, Field(max_length=100)]


class GenerateTool(Request):
    prompt: Prompt = ""
    bpm: Bpm | None = None
    key: KeyText | None = None
    duration: Duration = 10.0
    seed: Seed | None = None


class AnalyzeTool(Request):
    """The form's text fields, or query parameters of the same names."""

    melody: Annotated[Flag, Field(description="the pitch of the leading voice too: it costs most")] = True


class ComposeTool(Request):
    """The form's text fields, or query parameters of the same names."""

    duration: Duration = 10.0
    seed: Seed | None = None
    prompt: Prompt = ""
    bpm: Bpm | None = None
    key: KeyText | None = None
    mood: Words | None = None
    style: Words | None = None


class ContinueTool(Request):
    audio_path: Annotated[Text, Field(min_length=1, max_length=4096)]
    prompt: Prompt = ""
    duration_s: Annotated[Number, Field(ge=5, le=30)] = 10.0
    cfg_coef: Annotated[Number, Field(ge=0, le=20)] = 3.0
    prompt_duration_s: Annotated[Number, Field(gt=0, le=30)] = 10.0
    seed: Seed | None = None


class ContinuedView(BaseModel):
    audio_path: str
    duration_s: float


class AnalyzeView(BaseModel):
    """`energy_curve` has a value 0..1 for each `energy_hop_s`. `method` says who judged emotion and style. The rest
    is as in a node's analysis."""

    bpm: float | None
    key: str | None
    emotion: dict[str, Any]
    energy_curve: list[float]
    style_id: str | None
    prompt: str
    duration_s: float
    bpm_confidence: float
    key_confidence: float
    camelot: str | None
    tuning_cents: float | None
    energy_hop_s: float
    method: str
    rhythm: dict[str, Any]
    level: dict[str, Any]
    style: dict[str, Any]
    melody: dict[str, Any] | None
    sections: list[dict[str, Any]]


def analyze_view(analysis: Analysis) -> AnalyzeView:
    record = analysis.to_record()
    return AnalyzeView(
        bpm=record["rhythm"]["bpm"],
        key=record["key"]["name"],
        emotion=record["emotion"],
        energy_curve=record["energy"]["values"],
        style_id=record["style"]["id"],
        prompt=analysis.prompt,
        duration_s=record["duration_s"],
        bpm_confidence=record["rhythm"]["confidence"],
        key_confidence=record["key"]["confidence"],
        camelot=record["key"]["camelot"],
        tuning_cents=record["key"]["tuning_cents"],
        energy_hop_s=record["energy"]["hop_s"],
        method=analysis.emotion.method,
        rhythm=record["rhythm"],
        level=record["level"],
        style=record["style"],
        melody=record["melody"],
        sections=record["sections"],
    )
